"""Checks: what the whole resource must agree with, and digests of what a reader was given in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.ranges import ByteRange
from ..errors import ChecksumError, ForeignFileError
from .checksum import Checksum, digest_of

if TYPE_CHECKING:
    from ..transfer.transfer import Transfer
    from .session import Session


class Checks:
    """The digests expected of one resource, and those found right. The session's lock guards it.

    What the user demands replaces what the server announces: who gives a checksum knows better.
    """

    def __init__(self, demanded: Checksum | None) -> None:
        self._demanded: tuple[Checksum, ...] = () if demanded is None else (demanded,)
        self._announced: frozenset[Checksum] = frozenset()  # by the answers of transfers that are over
        self._agreed: frozenset[Checksum] = frozenset()
        self.has_failed = False  # the whole was found wrong once: it is not fetched again unasked

    def demand(self, checksum: Checksum) -> None:
        """Expect *checksum* as well."""
        self._demanded = tuple(dict.fromkeys([*self._demanded, checksum]))

    def expected(self, transfer: Transfer | None) -> tuple[Checksum, ...]:
        """Return what the whole must agree with, as far as it is known now."""
        if self._demanded:
            return self._demanded
        current = () if transfer is None else map(Checksum.announced, transfer.digests)
        return tuple(sorted({*self._announced, *current}))

    def pending(self, transfer: Transfer | None) -> tuple[Checksum, ...]:
        """Return what the whole has not been compared with yet."""
        return tuple(each for each in self.expected(transfer) if each not in self._agreed)

    def note_announced(self, transfer: Transfer) -> None:
        """Remember what the answers of *transfer*, which ends, have announced."""
        self._announced |= set(map(Checksum.announced, transfer.digests))

    def note_agreed(self, found: Iterable[Checksum]) -> None:
        self._agreed |= set(found)

    def forget_agreed(self) -> None:
        """Bytes may change from here on: compare again."""
        self._agreed = frozenset()

    def forget_announced(self) -> None:
        """Everything is fetched anew, maybe in another version, whose digests come with it."""
        self._agreed = self._announced = frozenset()


class StreamDigest:
    """Digests of what one reader was given, for as long as it reads in order from byte 0 on.

    It hashes only where something is expected: a read elsewhere costs a comparison of two numbers.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._place = 0
        self._hashers: dict[str, hashlib._Hash] = {}
        self._before = (self._place, self._hashers)
        self._mark: object = None
        self._is_verified = False

    def take(self, offset: int, data: bytes) -> bool:
        """Take note of *data*, which was read at *offset*; return whether the whole was read with that."""
        if not offset:
            self._place, self._is_verified = 0, False
            self._hashers = {each.algorithm: hashlib.new(each.algorithm) for each in self._session.expected()}
            self._mark = self._session.mark
        if offset != self._place:
            return False
        stop = offset + len(data)
        is_end = stop == self._session.known_size
        self._before = self._place, self._hashers
        if is_end:
            self._hashers = {name: hasher.copy() for name, hasher in self._hashers.items()}
        for hasher in self._hashers.values():
            hasher.update(data)
        self._place = stop
        return is_end and not self._is_verified

    def verify(self) -> None:
        """Raise `ChecksumError` when the whole, which was read, is not what is expected.

        The last `take` is undone then, so that reading on from there is compared again.
        """
        session = self._session
        expected = session.expected()
        for checksum in expected:
            if not self._agrees(checksum):
                self._place, self._hashers = self._before
                session.refuse(checksum)
        self._is_verified = True
        if self._mark == session.mark:  # else some of it was dropped since, and may be fetched otherwise
            session.note_agreed(expected)

    def _agrees(self, checksum: Checksum) -> bool:
        hasher = self._hashers.get(checksum.algorithm)
        if hasher is None:  # it was announced by a later answer: read what was given out again
            copy = self._session.opened_copy()
            if self._place and not copy.blocks.holds(ByteRange(0, self._place)):
                return True  # some has been let go of: nothing is left to tell by
            hasher = digest_of(copy, checksum.algorithm, self._place)
        return hasher.hexdigest() == checksum.digest


def digest_error(session: Session, wrong: Checksum, more: str = "") -> ChecksumError | ForeignFileError:
    """Return the error for a resource that has not the digest *wrong*."""
    copy = session.destination.copy
    if copy is not None and copy.is_foreign:
        path = session.destination.path or session.remote.name
        return ForeignFileError(path, f"a file of that name exists, and its {wrong.algorithm} differs")
    return ChecksumError(session.remote.name, f"its {wrong.algorithm} is not {wrong.digest}{more}")
