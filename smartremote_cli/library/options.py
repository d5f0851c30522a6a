"""DownloadOptions: how one resource is to be read. A value, given once when it is opened."""

from __future__ import annotations

from typing import NamedTuple

from ..transfer.state import Policy
from ..transport.limiter import Limiter
from .checksum import Checksum


class DownloadOptions(NamedTuple):
    """The same for `get`, `cat` and the library; each uses what concerns it.

    *checksum* replaces what the server announces. *restart_on_change* drops what is held when the resource changed,
    as long as nothing was handed to a reader. *overwrite* and *sync* concern a named file. *offline* never contacts
    the server. Up to *streams* places are read ahead of at once, and a jump ahead of up to *jump* bytes reads on.
    """

    policy: Policy = Policy()
    checksum: Checksum | None = None
    restart_on_change: bool = False
    overwrite: bool = False
    sync: bool = True
    limiter: Limiter | None = None
    offline: bool = False
    streams: int = 0
    jump: int = 0
