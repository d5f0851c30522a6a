"""`smartremote status`: which bytes of a download are here, without the network."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator

import click

from ..core.blocks import BLOCK, blocks_in
from ..core.sizes import size_text
from ..core.text import printable
from ..core.urls import redact
from ..errors import DamagedError, LocalError, SmartRemoteError
from ..store.evidence import SAMPLE_BYTES, against, is_foreign, is_foreign_part
from ..store.leftovers import inspect, load_record, survey
from ..store.part import Record
from ..store.stamp import stamp_of
from .completion import unfinished_files
from .output import write_line

COMPLETE, PARTIAL, FOREIGN = "complete", "partial", "foreign"


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=unfinished_files)
@click.option(
    "--json", "as_json", envvar="SMARTREMOTE_STATUS_JSON", is_flag=True, help="One JSON object a line."
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; only set the exit code.")
@click.option("-v", "--verbose", is_flag=True, help="List every missing run.")
def status(paths: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool) -> int:
    """Show what has arrived and what is missing.

    PATH is a download, its .part, or a folder [default: .].
    """
    from . import tell

    worst = 0
    for path in paths or (".",):
        for file in _files(path):
            try:
                facts = _facts(file)
            except SmartRemoteError as error:
                tell(error)
                worst = max(worst, error.exit_code)
                continue
            worst = max(worst, 0 if facts["state"] == COMPLETE else 3)
            if not quiet:
                write_line(json.dumps(facts) if as_json else _sentence(facts, verbose))
    return worst


def _files(path: str) -> Iterator[str]:
    """Yield the data files that *path* names: itself, the file of a record, or all unfinished files in a folder."""
    if not os.path.isdir(path):
        yield path[: -len(".part")] if path.endswith(".part") and not _is_data(path) else path
        return
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise LocalError.of(path, error) from error
    for name in names:
        if name.endswith(".part") and os.path.isfile(os.path.join(path, name)):
            yield os.path.normpath(os.path.join(path, name[: -len(".part")]))


def _is_data(path: str) -> bool:
    return os.path.exists(f"{path}.part")


def _facts(path: str) -> dict[str, object]:
    found = inspect(path)
    try:
        record = load_record(path)
    except DamagedError as error:
        if is_foreign_part(path):
            if found is None and is_foreign_part(path, SAMPLE_BYTES):
                return _row(f"{path}.part", FOREIGN, None, None, None, None, None)
            part, file = shlex.quote(f"{path}.part"), shlex.quote(path)
            error.hint = f"if another program began it: smartremote adopt {part} --url URL -o {file}"
        raise
    if record is not None:
        return _of_record(path, record)
    if found is None:
        raise LocalError(path, "there is no such file, and no part record")
    stamped = stamp_of(path) is not None
    if found.marked and not stamped:
        return _row(path, PARTIAL, None, None, None, None, None)
    if not stamped and is_foreign(path):
        return _row(path, FOREIGN, None, None, None, None, None)
    count = blocks_in(found.size)
    return _row(path, COMPLETE, found.size, count, count, found.size, [])


def _of_record(path: str, record: Record) -> dict[str, object]:
    blocks = survey(path, record)
    identity = record.identity
    size = None if identity is None else identity.size
    missing = None if size is None else [[run.start, run.stop - 1] for run in blocks.missing()]
    count = None if size is None else blocks.count
    row = _row(path, PARTIAL, size, count, blocks.held, blocks.bytes_held, missing)
    row["url"] = record.url and redact(record.url)
    row["etag"] = identity and identity.etag
    row["last_modified"] = identity and identity.last_modified
    return row


def _row(
    path: str,
    state: str,
    size: int | None,
    count: int | None,
    held: int | None,
    present: int | None,
    missing: list[list[int]] | None,
) -> dict[str, object]:
    return {
        "path": path,
        "state": state,
        "size": size,
        "block_size": BLOCK,
        "blocks_total": count,
        "blocks_present": held,
        "bytes_present": present,
        "bytes_missing": None if size is None or present is None else size - present,
        "missing": missing,
        "url": None,
        "etag": None,
        "last_modified": None,
    }


def _sentence(facts: dict[str, object], verbose: bool) -> str:
    path, size, present, missing = (facts[key] for key in ("path", "size", "bytes_present", "missing"))
    name = printable(str(path))
    if facts["state"] == COMPLETE:
        assert isinstance(size, int)
        return f"{name}: complete, {size_text(size)}"
    if facts["state"] == FOREIGN:
        why = against(str(path)) or "what another program, or a lost record, has left unfinished"
        return f"{name}: foreign: {why}\n  go on with: smartremote adopt {shlex.quote(name)} --url URL"
    if not isinstance(present, int):
        return f"{name}: partial, its part record is missing"
    if not isinstance(size, int) or not isinstance(missing, list):
        text = f"{name}: partial, {size_text(present)} here, size unknown"
    else:
        share = 100 * present // size if size else 100
        runs = f"{len(missing)} run{'' if len(missing) == 1 else 's'}"
        text = (
            f"{name}: partial, {share} % of {size_text(size)}, {size_text(size - present)} missing in {runs}"
        )
        if verbose:
            text += "".join(f"\n  missing {first}-{last}" for first, last in missing)
    url = facts["url"]
    return text + (f"\n  from {printable(redact(url))}" if isinstance(url, str) else "")
