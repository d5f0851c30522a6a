"""`smartremote adopt`: go on with what another program has left unfinished."""

from __future__ import annotations

import os
from typing import Any

import click

from ..errors import UsageError
from .options import display_options, fill_options, network_options
from .wiring import download_options_of, limiter_of, progress_of, transport_of


@click.command()
@click.argument("file", type=click.Path(readable=False), metavar="FILE")
@click.option("--url", metavar="URL", required=True, help="Where the whole file is.")
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="NEW",
    help="The name that FILE gets [default: FILE, without .part].",
)
@click.option("--no-fetch", is_flag=True, help="Only make the part record; `complete` goes on later.")
@fill_options
@network_options
@display_options
def adopt(file: str, url: str, output: str | None, no_fetch: bool, **options: Any) -> None:
    """Go on with FILE, which aria2, axel, lftp, curl, wget or a browser has left unfinished.

    What is here is compared with the server in samples before anything is written.
    """
    if output == "":
        raise UsageError("--output", "the name is empty")
    with transport_of(options, url) as transport:  # connects while the rest is imported
        from ..events import Notice
        from ..library.adopt import adopt as adopt_file
        from ..library.adopt import target_of
        from ..library.download import Download, check_output
        from ..store.existing_file import amounts
        from ..transport.remote import Remote

        download_options = download_options_of(options)
        remote = Remote(url, transport)
        target = target_of(file, output)
        check_output(target)
        download: Download | None = None
        with progress_of(options, target, lambda: download.transfer if download else None) as progress:
            if not _is_adopted(file, target, remote.url):
                adopted = adopt_file(remote, file, output, download_options, progress)
                here = amounts(adopted.held, adopted.size)
                word = (
                    f"{here} are here and agree in samples" if adopted.held else "nothing of it can be kept"
                )
                progress(Notice(f"{target}: {word}"))
            if no_fetch:
                return
            download = Download(
                remote, target, download_options, listener=progress, limiter=limiter_of(options)
            )
            try:
                download.run()
                progress.done()
            finally:
                download.stop()


def _is_adopted(file: str, target: str, url: str) -> bool:
    """Return whether an earlier run has made *target* of *file*: the same line again goes on with it."""
    from ..errors import DamagedError
    from ..store.leftovers import load_record, record_path

    if file not in (target, record_path(target)) and os.path.lexists(file):
        return False
    try:
        record = load_record(target)
    except DamagedError:  # another program's .part, which is to be adopted
        return False
    return record is not None and record.url == url and os.path.lexists(target)
