"""`smartremote complete`: fetch what is missing of a partial file, from the URL in its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import ForeignFileError, LocalError, SmartRemoteError, UsageError
from .completion import unfinished_files
from .options import display_options, fill_options, network_options
from .wiring import limiter_of, policy_of, progress_of, transport_of

if TYPE_CHECKING:
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
    from ..library.download import Checksum, Download, DownloadOptions
    from ..store.leftovers import inspect, load_record
    from ..transport.remote import Remote

    record = load_record(path)
    if record is None:
        found = inspect(path)
        if found is None:
            raise LocalError(path, "there is no such file, and no part record")
        if found.marked:
            raise ForeignFileError(path, "an unfinished download whose part record is missing")
        return
    source = url or record.url
    if source is None:
        raise UsageError(path, "its record names no URL; give one with --url")
    wishes = DownloadOptions(
        policy=policy_of(options),
        checksum=Checksum.parse(options["checksum"]) if options["checksum"] else None,
        restart_on_change=options["on_change"] == "restart",
        sync=not options["no_sync"],
    )
    remote = Remote(source, transport)
    other = url is not None and remote.url != record.url
    download: Download | None = None
    with progress_of(options, path, lambda: download.transfer if download else None) as progress:
        download = Download(
            remote, path, wishes, listener=progress, limiter=limiter_of(options), other_url=other
        )
        try:
            download.run()
            progress.done()
        finally:
            download.stop()
