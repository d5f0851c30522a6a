"""Standard output for data, with errors of its own, so that they are not mistaken for those of another file."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from ..errors import LocalError


class PipeClosed(BrokenPipeError):
    """The program that read our output has closed the pipe.

    It carries no errno on purpose: Click ends the process with 1 for an OSError whose errno is EPIPE.
    """


class Output:
    """Standard output, for bytes. Raises `LocalError` when it is closed or the disk behind it is full."""

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
    """Write a line of text to standard output; lone surrogates (surrogateescape) become the bytes they stand for."""
    out = Output()
    out.write(text.encode("utf-8", "surrogateescape") + b"\n")
    out.flush()


def _translated(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return PipeClosed("the reader of standard output closed it")
    return LocalError("standard output", os.strerror(error.errno) if error.errno else str(error))
