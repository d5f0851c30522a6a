"""Threads where there may be no more of them: a limit on processes, or on memory."""

from __future__ import annotations

import threading


def start(thread: threading.Thread) -> bool:
    """Start *thread* and return True; False when the system allows no more, and it is as if it had never been made."""
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return False
    return True
