"""Standard output for data: what goes wrong there has a name, which nothing else's trouble can be taken for."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from ..errors import LocalError


class PipeClosed(BrokenPipeError):
    """Whoever read our output has had enough.

    It carries no errno on purpose: click ends the process with 1 for an OSError that says EPIPE.
    """


class Output:
    """Standard output, for bytes. `LocalError` when it is closed, or the disk behind it is full."""

    def __init__(self) -> None:
        if sys.stdout is None or sys.stdout.closed:
            raise LocalError("standard output", "is closed")
        self._out: BinaryIO = sys.stdout.buffer

    def write(self, data: bytes) -> None:
        try:
            self._out.write(data)
        except OSError as error:
            raise _translated(error) from error

    def flush(self) -> None:
        try:
            self._out.flush()
        except OSError as error:
            raise _translated(error) from error


def write_line(text: str) -> None:
    """Write a line of text to standard output; a name that is no text goes out as the bytes that it was."""
    out = Output()
    out.write(text.encode("utf-8", "surrogateescape") + b"\n")
    out.flush()


def _translated(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return PipeClosed("standard output was closed by whoever read it")
    return LocalError("standard output", os.strerror(error.errno) if error.errno else str(error))
