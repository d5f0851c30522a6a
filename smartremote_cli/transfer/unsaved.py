"""Unsaved: what the checkpointer has not made durable yet."""

from __future__ import annotations

import threading

from ..plan.planner import MIB

# Checkpoint early once this many bytes are waiting to be saved. On ext4 a sync and a record every 64 MiB reached
# 1,530 MB/s, every 8 MiB 1,350 MB/s, without any sync 4,100 MB/s; at 100 MB/s the second below comes first.
EARLY_BYTES = 64 * MIB

# Checkpoint this often while bytes arrive: a power cut costs at most the last second of progress.
INTERVAL_SECONDS = 1.0


class Unsaved:
    """New blocks and writes that no checkpoint has seen. The guard of `State` guards it."""

    def __init__(self, guard: threading.RLock) -> None:
        self.changed = threading.Condition(guard)  # wakes the checkpointer alone
        self.count = 0  # bytes of blocks that are held, or were dropped, since the last checkpoint
        self.was_written = False  # something was written, whether or not it makes up a block

    def add(self, count: int) -> None:
        """Note *count* bytes more, and wake the checkpointer when it has a reason to look."""
        if not self.count or self.count + count >= EARLY_BYTES:
            self.changed.notify()
        self.count += count

    def take(self) -> tuple[int, bool]:
        """Return (bytes, whether anything was written) since the last checkpoint, which the caller makes durable."""
        found = self.count, self.was_written
        self.count, self.was_written = 0, False
        return found

    def is_due(self, seconds: float) -> bool:
        """Return whether to checkpoint now, *seconds* after the last one."""
        return self.count >= EARLY_BYTES or (self.count > 0 and seconds >= INTERVAL_SECONDS)
