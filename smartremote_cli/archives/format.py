"""Format: what the module of one archive format offers to the table of formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .entry import Archive
from .reader import RangeReader


class Format(NamedTuple):
    """How one format is recognised and read. The window lies at the start or at the end of the file."""

    name: str
    window_start: int  # offset of the window; negative counts from the end
    window_length: int | None  # in bytes; None means up to the end
    recognises: Callable[[bytes], bool]  # judges by the window
    # reader, window, size of the file, name for errors, what takes warnings, whether offsets are wanted
    read: Callable[[RangeReader, bytes, int, str, Callable[[str], None], bool], Archive]
