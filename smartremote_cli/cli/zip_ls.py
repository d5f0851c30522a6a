"""`smartremote zip-ls`: a remote zip archive's listing, from its directory alone."""

from __future__ import annotations

from typing import Any

import click

from ..errors import DamagedError
from .options import (
    cache_of,
    cache_options,
    display_options,
    limiter_of,
    network_options,
    policy_of,
    progress_of,
    transport_of,
)
from .output import Output


@click.command(name="zip-ls")
@click.argument("url")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("-1", "--names-only", is_flag=True, help="One name a line, and nothing else.")
@click.option("-0", "--null", is_flag=True, help="Names with NULs between, raw.")
@click.option(
    "--json", "as_json", envvar="SMARTREMOTE_ZIP_LS_JSON", is_flag=True, help="One JSON object a line."
)
@cache_options
@network_options
@display_options
def zip_ls(
    url: str, patterns: tuple[str, ...], names_only: bool, null: bool, as_json: bool, **options: Any
) -> None:
    """List the remote zip archive URL, all of it or what any PATTERN matches."""
    out = Output()
    with transport_of(options, url) as transport:  # connects while the rest is imported
        from ..archives.zip import TAIL, find_directory, read_entries
        from ..core.ranges import ByteRange
        from ..core.urls import redact
        from ..library.reading import Reader
        from ..transport.remote import Remote
        from . import listing

        remote = Remote(url, transport)
        reader: Reader | None = None
        with progress_of(
            options, remote.name, lambda: reader.transfer if reader else None, shy=True
        ) as progress:
            with Reader(
                remote,
                cache_of(options),
                policy=policy_of(options, 1),
                listener=progress,
                limiter=limiter_of(options),
                offline=options["offline"],
            ) as reader:
                size = reader.open(-TAIL, None)
                if size is None:
                    size = reader.size_at_last()
                tail = reader.read(ByteRange(max(0, size - TAIL), size)) if size else b""
                directory = find_directory(tail, size, remote.name)
                chosen = listing.Patterns(patterns)
                chunks = reader.stream(directory.offset, directory.offset + directory.size)
                entries = chosen.select(read_entries(chunks, directory, remote.name))
                if as_json:
                    lines = listing.json_lines(entries)
                elif null:
                    lines = listing.raw_names(entries)
                elif names_only:
                    lines = listing.names(entries)
                else:
                    lines = listing.table(entries, redact(url), directory.comment)
                listing.write(lines, out, errors="surrogateescape" if null else "backslashreplace")
                out.flush()
            progress.done()
    if chosen.unmatched:
        raise DamagedError(remote.name, f"nothing in it matches {', '.join(chosen.unmatched)}")
