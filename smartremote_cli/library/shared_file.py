"""SharedFile: one file of a manager, and how many `RemoteFile`s read it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from .open_file import OpenFile


@dataclass(eq=False)
class SharedFile:
    """A file and how many `RemoteFile`s read it; *file* is None until it is opened."""

    opening: threading.RLock = field(default_factory=threading.RLock)  # guards file while it opens and closes
    file: OpenFile | None = None
    uses: int = 0
