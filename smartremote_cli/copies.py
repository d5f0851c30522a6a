"""Copy: where the blocks of one resource are kept. Any number of threads may write, for writes are positional."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pyroaring import BitMap

from .blocks import BlockMap
from .identity import Identity
from .ranges import ByteRange


class Snapshot(NamedTuple):
    """Which blocks of what were written at one moment, to be recorded. A later one has a higher *number*.

    Both are taken together: blocks of one version must not be recorded as another's. *compared* says that what
    had to be compared, before an earlier run's blocks are trusted, was.
    """

    number: int
    bits: BitMap
    identity: Identity
    compared: bool = True


class Copy(Protocol):
    """What a transfer fills. The owner guards `blocks`, and holds that guard for `settle` and `snapshot`."""

    blocks: BlockMap
    identity: Identity

    def settle(self, identity: Identity) -> None: ...

    def write(self, offset: int, data: memoryview) -> None: ...

    def read(self, wanted: ByteRange) -> bytes: ...

    def snapshot(self) -> Snapshot: ...

    def checkpoint(self, snapshot: Snapshot) -> None: ...

    def renounce(self, snapshot: Snapshot) -> None: ...
