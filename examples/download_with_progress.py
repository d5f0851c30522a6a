"""Download with a progress line of your own: python examples/download_with_progress.py URL FILE

Interrupt it and run it again: it continues where it stopped, as `smartremote complete FILE` would.
"""

from __future__ import annotations

import sys

import smartremote_cli as smartremote
from smartremote_cli import errors


def show(now: smartremote.Snapshot) -> None:
    """Draw the map of what has arrived; called a few times a second."""
    cells = "".join("█" if full == 1 else "▒" if full else "·" for full in now.cells)
    print(f"\r{cells} {now.bytes_present} of {now.size} bytes", end="", file=sys.stderr, flush=True)


def main(url: str, path: str) -> int:
    try:
        with smartremote.DownloadManager() as manager, manager.open_to(url, path) as f:
            f.complete(show)
    except errors.SmartRemoteError as error:
        print(f"\n{error}", error.hint or "", sep="\n", file=sys.stderr)
        return error.exit_code
    print(f"\n{path} is complete", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
