"""`smartremote cat`: a range of a resource to standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import OffsetError
from .options import CONNECTIONS, Size, cache_options, display_options, network_options
from .output import Output
from .wiring import reader_of, transport_of

if TYPE_CHECKING:
    from ..library.reading import Reader


@click.command()
@click.argument("url")
@click.option(
    "--offset",
    type=Size(signed=True),
    default=0,
    metavar="N",
    help="Begin at byte N; -N counts from the end.",
)
@click.option("--length", type=Size(), metavar="N", help="Print at most N bytes [default: up to the end].")
@cache_options
@network_options
@display_options
def cat(url: str, offset: int, length: int | None, **options: Any) -> None:
    """Print a range of bytes of URL (all of it without options), fetching only the blocks that hold it."""
    out = Output()
    with transport_of(options, url) as transport:  # connects while the rest is imported
        from ..transport.remote import Remote

        with reader_of(options, Remote(url, transport), CONNECTIONS) as (reader, _):
            _copy(reader, offset, length, out)


def _copy(reader: Reader, offset: int, length: int | None, out: Output) -> None:
    from ..errors import PastEndError

    try:
        size = reader.open(offset, length)
    except PastEndError as error:
        if error.size == offset:
            return
        raise
    if size is None and offset < 0:
        size = reader.size_at_last()
    _check_offset(reader, offset, size)
    start = offset if offset >= 0 else max(0, (size or 0) + offset)
    stop = size if length is None else start + length
    if stop is not None and size is not None:
        stop = min(stop, size)
    for data in reader.stream(start, stop):
        out.write(data)
    out.finish()
    if size is None and reader.transfer is not None:  # known now: the stream has reached the end
        _check_offset(reader, offset, reader.transfer.size)


def _check_offset(reader: Reader, offset: int, size: int | None) -> None:
    if size is not None and offset > size:
        raise OffsetError(reader.remote.name, f"the offset {offset} lies past the end, at {size} bytes")
