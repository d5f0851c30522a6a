"""Starting threads where the system may refuse them: a limit on processes, or on memory."""

from __future__ import annotations

import threading


def start(thread: threading.Thread) -> bool:
    """Start *thread* and return whether the system allowed it. Otherwise the thread never ran."""
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        return False
    return True
