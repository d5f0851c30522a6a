"""`smartremote get`: a whole resource into a file."""

from __future__ import annotations

from typing import Any

import click

from ..core.file_names import BESIDE
from ..errors import UsageError
from .options import display_options, fill_options, network_options
from .wiring import cache_of, download_options_of, limiter_of, progress_of, transport_of


@click.command()
@click.argument("url")
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False),
    metavar="FILE",
    help="Where to write [default: the name from the server or the URL].",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE even if it is something else.")
@fill_options
@network_options
@display_options
def get(url: str, output: str | None, overwrite: bool, **options: Any) -> None:
    """Download URL with several connections, resuming where an earlier run ended."""
    if output == "-":
        raise UsageError("--output", "get writes to a file", hint="for standard output: smartremote cat URL")
    if output == "":
        raise UsageError("--output", "the name is empty")
    if output is not None and output.endswith(BESIDE):
        raise UsageError("--output", f"names ending in {' or '.join(BESIDE)} are reserved for part records")
    with transport_of(options, url) as transport:  # connects while the rest is imported
        from ..events import Notice
        from ..library.download import Download, check_output
        from ..store.names import file_name
        from ..transport.remote import Remote

        download_options = download_options_of(options, overwrite=overwrite)
        remote = Remote(url, transport)
        if output is not None:
            check_output(output)
        name = output or file_name(remote.url, None)
        download: Download | None = None
        with progress_of(options, name, lambda: download.transfer if download else None) as progress:
            download = Download(
                remote,
                output,
                download_options,
                cache=cache_of(options),
                listener=progress,
                limiter=limiter_of(options),
            )
            try:
                path = download.run()
                if path != name:
                    progress(Notice(f"saved as {path}"))
                progress.done()
            finally:
                download.stop()
