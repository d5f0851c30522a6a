"""Copy: where the blocks of one resource are kept. Any number of threads may write, for writes are positional."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from pyroaring import BitMap

from ..core.blocks import BlockMap
from ..core.ranges import ByteRange
from ..errors import SmartRemoteError
from ..protocol.headers import Headers
from ..protocol.identity import Identity


class RecordDraft(NamedTuple):
    """Which blocks of what were written at one moment, to be recorded. A later one has a higher *number*.

    Both are taken together: blocks of one version must not be recorded as another's. *compared* says that what
    had to be compared, before an earlier run's blocks are trusted, was.
    """

    number: int
    bits: BitMap
    identity: Identity
    compared: bool = True


class Head(Protocol):
    """What a destination looks at of the first answer: its status and its header fields."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Headers: ...


class Copy(Protocol):
    """What a transfer fills. The owner guards `blocks`, and holds that guard for `settle` and `draft`."""

    blocks: BlockMap
    identity: Identity

    @property
    def is_durable(self) -> bool:
        """Whether it has a record, so that a checkpoint outlives the process."""

    @property
    def max_bytes(self) -> int | None:
        """How many bytes it may hold at once; None for all that there are."""

    @property
    def is_foreign(self) -> bool:
        """Whether it is a file of the user's that is only compared, and never written."""

    def stat(self) -> os.stat_result | None:
        """Return the data file's stat result; None when there is no data file."""

    def settle(self, identity: Identity) -> None: ...

    def write(self, offset: int, data: memoryview) -> None: ...

    def read(self, wanted: ByteRange) -> bytes: ...

    def draft_record(self) -> RecordDraft: ...

    def checkpoint(self, draft: RecordDraft) -> None: ...

    def reset(self, draft: RecordDraft) -> None: ...

    def forget(self, part: ByteRange) -> None:
        """Free what the blocks that *part* touches occupy. The owner forgets them in `blocks`."""


class Opened(NamedTuple):
    """What the opener made of the first answer: the copy to fill, and what must be compared before it is trusted.

    *resumed* copies hold bytes of an earlier run, so that a change cannot be mended by starting over.
    *mismatch* makes the error for samples that differ.
    """

    copy: Copy
    resumed: bool = False
    samples: tuple[ByteRange, ...] = ()
    mismatch: Callable[[str], SmartRemoteError] | None = None
