"""list_archive: recognise the format of an archive, and list what is in it."""

from __future__ import annotations

from collections.abc import Callable

from ..core.ranges import ByteRange
from . import zip
from .entry import Archive
from .format import Format
from .reader import FileReader, RangeReader, SeekableFile

# Tried in this order. The first request over a network asks for the window of the first one.
FORMATS = (zip.FORMAT,)


def _ignore(warning: str) -> None:
    """Do nothing: what takes warnings by default."""


def list_archive(
    source: RangeReader | SeekableFile,
    name: str = "archive",
    *,
    warn: Callable[[str], None] = _ignore,
    offsets: bool = True,
) -> Archive:
    """Return the comment and the entries of the archive that *source* holds, without reading its members.

    *source* is a binary file such as `RemoteFile`, whose position moves, or a `RangeReader`. The entries are read
    while the result is iterated over; *source* must stay open until then. Raises `DamagedError`, naming *name*, here
    or during that iteration, for bytes that are not an archive or a damaged one, after the entries before the damage.

    What is wrong with the archive but leaves its entries readable, such as a wrong count, goes to *warn*, a line each.
    Without *offsets* those that take a look at the members are left out (None), which may save requests.
    """
    reader: RangeReader = FileReader(source) if isinstance(source, SeekableFile) else source
    first = FORMATS[0]
    size = reader.open(first.window_start, first.window_length)
    if size is None:
        size = reader.size_at_last()
    for format in FORMATS:
        window = _window(format, reader, size)
        if format.recognises(window):
            break
    else:  # let the first format say what is missing
        format, window = first, _window(first, reader, size)
    return format.read(reader, window, size, name, warn, offsets)


def _window(format: Format, reader: RangeReader, size: int) -> bytes:
    start = format.window_start if format.window_start >= 0 else max(0, size + format.window_start)
    stop = size if format.window_length is None else min(size, start + format.window_length)
    return reader.read(ByteRange(start, stop)) if start < stop else b""
