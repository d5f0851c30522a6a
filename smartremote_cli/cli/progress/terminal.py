"""Standard error as progress is written to it: without a buffer, and without an error that could end a download."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TextIO


class StderrWriter:
    """Writes text to stderr past Python's buffer: a thread that is stuck in the buffer would hold up the exit.

    Writing never raises: a stream that is closed, hung up or broken is `gone`, and further text is dropped.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._fd = -1  # -1: a stream in memory, which has no descriptor
        self.gone = stream is None or stream.closed  # `2>&-` leaves None
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        if stream is not None and not self.gone:
            with suppress(OSError, ValueError):
                self._fd = stream.fileno()

    @property
    def is_terminal(self) -> bool:
        return self._fd >= 0 and os.isatty(self._fd)

    def room(self) -> tuple[int, int] | None:
        """Return the terminal's columns and rows; None while another job is in its foreground."""
        with suppress(OSError):  # not this process's controlling terminal: it has no foreground job
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                return None
        columns = rows = 0
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self._fd)  # not COLUMNS: it keeps the width at export
        return columns or 80, rows or 24

    def write(self, text: str) -> None:
        if not text or self.gone:
            return
        try:
            if self._stream is not None and self._fd < 0:
                self._stream.write(text)
                self._stream.flush()
            else:
                self._write_all(text.encode(self.encoding, "replace"))
        except (OSError, ValueError):
            self.gone = True

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another process that shares it may have made it non-blocking
                select.select([], [self._fd], [])
