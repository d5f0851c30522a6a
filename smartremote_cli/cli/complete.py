"""`smartremote complete`: fetch what is missing of a partial file, from the URL in its record."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from ..errors import DamagedError, ForeignFileError, LocalError, SmartRemoteError, UsageError
from .completion import unfinished_files
from .options import display_options, fill_options, network_options
from .wiring import download_options_of, limiter_of, progress_of, transport_of

if TYPE_CHECKING:
    from ..store.part import Record
    from ..transport.transport import Transport


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=unfinished_files)
@click.option("--url", metavar="NEW", help="Fetch from NEW, after checking that it serves the same file.")
@fill_options
@network_options
@display_options
def complete(files: tuple[str, ...], url: str | None, **options: Any) -> int:
    """Fetch what is missing of each FILE, from the URL in its part record."""
    from . import tell

    if url is not None and len(files) > 1:
        raise UsageError("--url", "goes with one FILE")
    worst = 0
    with transport_of(options, url) as transport:
        for file in files:
            try:
                _complete_one(file.removesuffix(".part"), url, transport, options)
            except SmartRemoteError as error:
                if len(files) == 1:
                    raise
                tell(error)
                worst = max(worst, error.exit_code)
    return worst


def _complete_one(path: str, url: str | None, transport: Transport, options: dict[str, Any]) -> None:
    from ..library.download import Download
    from ..transport.remote import Remote

    record = _record_of(path, url)
    if record is None and url is None:
        _check_complete(path)
        return
    source = url or (None if record is None else record.url)
    if source is None:
        raise UsageError(path, "its record names no URL; give one with --url")
    download_options = download_options_of(options)
    remote = Remote(source, transport)
    # A file without record is what `get NEW -o FILE` makes of it.
    other = url is not None and record is not None and remote.url != record.url
    download: Download | None = None
    with progress_of(options, path, lambda: download.transfer if download else None) as progress:
        download = Download(
            remote, path, download_options, listener=progress, limiter=limiter_of(options), other_url=other
        )
        try:
            download.run()
            progress.done()
        finally:
            download.stop()


def _record_of(path: str, url: str | None) -> Record | None:
    """Return the record of *path*; of a `.part` that another program is filling there is none."""
    from ..store.evidence import SAMPLE_BYTES, is_foreign_part
    from ..store.leftovers import inspect, load_record

    try:
        return load_record(path)
    except DamagedError as error:
        if is_foreign_part(path):
            part = f"{path}.part"
            words = shlex.join(["smartremote", "adopt", part, "--url", url or "URL", "-o", path])
            error.hint = f"if another program began it: {words}"
            if inspect(path) is None and is_foreign_part(path, SAMPLE_BYTES):
                why = "no part record of smartremote; another program may be downloading here"
                raise ForeignFileError(part, why, hint=error.hint) from error
        raise


def _check_complete(path: str) -> None:
    """Raise unless the file *path*, which has no record, may be taken for complete without asking a server."""
    from ..store.evidence import against, is_foreign
    from ..store.leftovers import inspect
    from ..store.stamp import stamp_of

    if inspect(path) is None:
        raise LocalError(path, "there is no such file, and no part record")
    if stamp_of(path) is not None or not is_foreign(path):
        return
    why = against(path)
    word = "complete" if why is None else "adopt"
    why = why or "an unfinished download whose part record is missing"
    raise ForeignFileError(path, why, hint=f"go on with: smartremote {word} {shlex.quote(path)} --url URL")
