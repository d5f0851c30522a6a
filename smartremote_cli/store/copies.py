"""Copy: where the blocks of one resource are kept. Any number of threads may write: writes are positional."""

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
    """Which blocks were written at one moment, and of what, to be recorded. A later one has a higher *number*.

    *bits* and *identity* are taken together: blocks of one version must not be recorded as another's. *compared*
    says that everything was compared that must be before an earlier run's blocks are trusted.
    """

    number: int
    bits: BitMap
    identity: Identity
    compared: bool = True


class AnswerHead(Protocol):
    """What a destination needs of the first answer: its status and its header fields."""

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

    def settle(self, identity: Identity) -> None:
        """Take *identity* as what the held blocks are of; `blocks` is replaced when it has another size."""

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of *data* at *offset*. Holding the blocks in `blocks` is the owner's."""

    def read(self, wanted: ByteRange) -> bytes:
        """Return the bytes of *wanted*; fewer where they end or were forgotten meanwhile."""

    def draft_record(self) -> RecordDraft:
        """Return which blocks are held now."""

    def checkpoint(self, draft: RecordDraft) -> None:
        """Make *draft* survive a crash, unless a later one does already."""

    def reset(self, draft: RecordDraft) -> None:
        """Record *draft*, in which nothing is held, before every byte is written anew."""

    def forget(self, part: ByteRange) -> BitMap:
        """Free the memory of the blocks that *part* touches; return which ones the owner is to drop in `blocks`."""

    @property
    def bytes_in_memory(self) -> int:
        """How much memory the held blocks take, in bytes."""

    def damaged(self, *, everything: bool = False) -> BitMap:
        """Return the blocks that reads have found damaged, for the owner to drop in `blocks`.

        They are damaged until they are written again, and a read ends before the first of them. With *everything*
        every held block is looked at first.
        """

    def stat(self) -> os.stat_result | None:
        """Return the stat result of the data file; None for a copy that has no file."""


class Opened(NamedTuple):
    """The copy to fill, opened with the first answer, and the *samples* to compare before what it holds is trusted.

    A *resumed* copy holds bytes of an earlier run: a change of the resource cannot be mended by starting over.
    *mismatch* makes the error for samples that differ. Of an *exposed* one a reader was given bytes by an earlier
    transfer.
    """

    copy: Copy
    resumed: bool = False
    samples: tuple[ByteRange, ...] = ()
    mismatch: Callable[[str], SmartRemoteError] | None = None
    exposed: bool = False
