"""Print the last lines of a remote log, fetching only its end: python examples/tail_log.py URL [LINES]"""

from __future__ import annotations

import sys

import smartremote_cli as smartremote

STEP = 64 * 1024


def tail(f: smartremote.RemoteFile, lines: int) -> bytes:
    """Return the last *lines* lines, reading backwards until enough of them are here."""
    start, end = f.size, b""
    while start and end.count(b"\n", 0, -1) < lines:
        before = max(0, start - STEP)
        end = f.read_at(before, start - before) + end
        start = before
    return b"".join(end.splitlines(keepends=True)[-lines:]) if lines else b""


def main(url: str, lines: str = "10") -> None:
    with smartremote.DownloadManager(idle_download=False) as manager, manager.reader_at(url) as f:
        sys.stdout.buffer.write(tail(f, int(lines)))


if __name__ == "__main__":
    main(*sys.argv[1:])
