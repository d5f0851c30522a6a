"""What can go wrong, as a tree: each class holds its exit code and the next step a person can take.

Every error is one line, ``WHAT: WHY``. Foreign exceptions are translated where they enter (transport, storage),
so that a caller catches `SmartRemoteError`, or the `OSError` that a Python user would expect, and nothing else.
"""

from __future__ import annotations

import errno


class SmartRemoteError(Exception):
    """Base of all errors of this package. *what* is the thing concerned, *why* the reason."""

    exit_code = 1
    hint: str | None = None

    def __init__(self, what: str, why: str, *, hint: str | None = None) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class UsageError(SmartRemoteError, ValueError):
    """The call itself is wrong: a URL that is none, an option out of range."""

    exit_code = 2


class RemoteFailure(SmartRemoteError, OSError):
    """Base of what goes wrong on the other side of the network."""

    errno: int | None = None  # OSError takes its first argument for it

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class IncompleteError(RemoteFailure, ConnectionError):
    """The network or the server failed for longer than the patience lasts. What arrived is kept."""

    exit_code = 3
    hint = "what arrived is kept: run the same command again to go on"


class StalledError(IncompleteError, TimeoutError):
    """Bytes stopped coming, or came too slowly to count, for longer than the patience lasts."""

    errno = errno.ETIMEDOUT


class AttemptFailed(IncompleteError):
    """One attempt failed in a way that another may mend. *retry_after* is in seconds, where the server gave it."""

    def __init__(
        self,
        what: str,
        why: str,
        *,
        crowded: bool = False,
        refused: bool = False,
        stalled: bool = False,
        garbled: bool = False,
        broken: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, why)
        self.crowded = crowded  # fewer connections may help: 429, 503, a refusal
        self.refused = refused  # nobody answered at all
        self.stalled = stalled  # bytes stopped coming, or came too slowly to count
        self.garbled = garbled  # what came is no HTTP: another attempt seldom helps
        self.broken = broken  # the server says that it fails at this request: 500
        self.retry_after = retry_after


class RefusedError(RemoteFailure):
    """The server refuses for good."""

    exit_code = 4


class RemoteNotFoundError(RefusedError, FileNotFoundError):
    """The server says that there is no such resource (404, 410)."""

    errno = errno.ENOENT


class RemotePermissionError(RefusedError, PermissionError):
    """The server denies access (401, 403, 407)."""

    errno = errno.EACCES


class UnbelievableError(RefusedError):
    """The server's answers contradict themselves or the standard; nothing of them was written."""


class OffsetError(RefusedError, ValueError):
    """An offset lies past the end of the resource."""


class PastEndError(OffsetError):
    """What was asked for begins past the end; *size* is what the server says."""

    def __init__(self, what: str, size: int) -> None:
        super().__init__(what, f"the offset lies past the end, at {size} bytes")
        self.size = size


class RemoteChangedError(RemoteFailure):
    """The resource is not the one that the held blocks came from."""

    exit_code = 5


class ForeignFileError(SmartRemoteError, FileExistsError):
    """A file of that name exists and is not part of this download. It was not touched."""

    exit_code = 5
    errno = errno.EEXIST
    hint = "choose another name with -o, or replace it with --overwrite"

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class LocalError(SmartRemoteError, OSError):
    """The local side fails: disk full, permission, not a regular file. What arrived is kept."""

    exit_code = 6
    errno: int | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class NotCachedError(LocalError):
    """`--offline` was asked for, and the blocks are not in the cache."""

    hint = "leave out --offline to fetch them"


class ChecksumError(SmartRemoteError):
    """The bytes do not have the expected digest, and fetching them again did not mend it."""

    exit_code = 7


class DamagedError(SmartRemoteError, ValueError):
    """A file cannot be read as what it should be: a part record, a zip archive."""

    exit_code = 8


class BusyError(SmartRemoteError, BlockingIOError):
    """Another process is working on the file."""

    exit_code = 9
    errno = errno.EAGAIN

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class ClosedError(SmartRemoteError, ValueError):
    """The file or manager was closed while, or before, it was used."""


def bug(error: BaseException) -> SmartRemoteError:
    """Return *error*, which nobody foresaw, as one that a thread can hand on to its caller."""
    failure = SmartRemoteError("a bug in smartremote", f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
