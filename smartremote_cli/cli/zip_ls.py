"""`smartremote zip-ls`: print what `list_archive` reads from the directory of a remote archive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..errors import DamagedError
from .options import cache_options, display_options, network_options
from .output import Output
from .wiring import reader_of, transport_of

if TYPE_CHECKING:
    from .progress.display import Progress


@click.command(name="zip-ls")
@click.argument("url")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("-1", "--names-only", is_flag=True, help="One name a line, and nothing else.")
@click.option("-0", "--null", is_flag=True, help="Like -1, but NUL-terminated and unescaped, for xargs -0.")
@click.option(
    "--json", "as_json", envvar="SMARTREMOTE_ZIP_LS_JSON", is_flag=True, help="One JSON object a line."
)
@cache_options
@network_options
@display_options
def zip_ls(
    url: str, patterns: tuple[str, ...], names_only: bool, null: bool, as_json: bool, **options: Any
) -> None:
    """List the files in the zip at URL, or only those that match a PATTERN."""
    out = Output()
    with transport_of(options, url) as transport:  # connects while the rest is imported
        from ..archives.listing import list_archive
        from ..core.urls import redact
        from ..transport.remote import Remote
        from . import listing

        remote = Remote(url, transport)
        with reader_of(options, remote, 1) as (reader, progress):
            archive = list_archive(
                reader, remote.name, warn=_warner(progress, options, remote.name), offsets=as_json
            )
            chosen = listing.Patterns(patterns)
            entries = chosen.select(archive)
            if as_json:
                lines = listing.json_lines(entries)
            elif null:
                lines = listing.raw_names(entries)
            elif names_only:
                lines = listing.names(entries)
            else:
                lines = listing.table(entries, redact(url), archive.comment)
            listing.write(lines, out, errors="surrogateescape" if null else "backslashreplace")
            out.finish()
    if chosen.unmatched:
        raise DamagedError(remote.name, f"no name in it matches {', '.join(chosen.unmatched)}")


def _warner(progress: Progress, options: dict[str, Any], name: str) -> Callable[[str], None]:
    """Return what prints a warning about the archive *name*: the display where there is one, else a line of its own."""
    from ..events import Notice
    from . import say

    def warn(text: str) -> None:
        if options["progress"] not in ("auto", "none"):
            progress(Notice(f"{name}: {text}"))
        elif not options["quiet"]:
            say(f"{name}: {text}")

    return warn
