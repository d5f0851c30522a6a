"""The errors, as a tree: each class holds its exit code and a hint at what a person can do next.

Every error is one line, ``WHAT: WHY``. `transport` and `store` translate foreign exceptions where they enter, so that
a caller catches `SmartRemoteError`, or the `OSError` that a Python user would expect, and nothing else.
"""

from __future__ import annotations

import errno


class SmartRemoteError(Exception):
    """Base of all errors of this package. *what* is the file or URL concerned, *why* the reason."""

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
    """The call itself is wrong: a malformed URL, an option out of range."""

    exit_code = 2


class RemoteFailure(SmartRemoteError, OSError):
    """Base of the errors of servers and of the network."""

    errno: int | None = None  # else OSError would use its first argument

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class IncompleteError(RemoteFailure, ConnectionError):
    """The network or the server failed more often than `--retries` allows. A durable copy keeps what has arrived."""

    exit_code = 3
    hint = "run the same command again"
    hint_if_kept = "what has arrived is kept; run the same command again to continue"


class StalledError(IncompleteError, TimeoutError):
    """Bytes stopped coming, or came too slowly to count as progress, more often than `--retries` allows."""

    errno = errno.ETIMEDOUT


class AttemptFailed(IncompleteError):
    """One attempt failed, and another may succeed. *retry_after* is in seconds, None where the server names no time."""

    def __init__(
        self,
        what: str,
        why: str,
        *,
        crowded: bool = False,
        refused: bool = False,
        stalled: bool = False,
        slow: bool = False,
        garbled: bool = False,
        broken: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, why)
        self.crowded = crowded  # fewer connections may help: 429, 503, a refusal
        self.refused = refused  # the connection was refused: no server listens there
        self.stalled = stalled  # bytes stopped coming, or came too slowly to count as progress
        self.slow = slow  # bytes came all the while, but few: something may hold them back for some time
        self.garbled = garbled  # the answer is not HTTP: another attempt seldom helps
        self.broken = broken  # the server reports an error of its own on this request: 5xx
        self.retry_after = retry_after


class RefusedError(RemoteFailure):
    """The server refuses, and asking again would not help."""

    exit_code = 4


class RemoteNotFoundError(RefusedError, FileNotFoundError):
    """The server says that there is no such resource (404, 410)."""

    errno = errno.ENOENT


class RemotePermissionError(RefusedError, PermissionError):
    """The server denies access (401, 403, 407)."""

    errno = errno.EACCES


class UnbelievableError(RefusedError):
    """The server's answers contradict each other or the standard; nothing from them was written."""


class OffsetError(RefusedError, ValueError):
    """An offset lies past the end of the resource."""


class PastEndError(OffsetError):
    """The range asked for begins past the end; *size* is the one that the server states."""

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
    """A problem on this machine: disk full, permission, not a regular file. What has arrived is kept."""

    exit_code = 6
    errno: int | None = None

    @classmethod
    def of(cls, path: str, error: OSError, *, hint: str | None = None) -> LocalError:
        """Return the system's *error* about *path*, with its `errno` and the path as `filename`."""
        local = cls(path, error.strerror or str(error), hint=hint)
        local.errno, local.filename, local.strerror = error.errno, path, error.strerror
        return local

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class NotCachedError(LocalError):
    """The run is offline, and the blocks are not in the cache."""

    hint = "leave out --offline to fetch them"


class ChecksumError(SmartRemoteError):
    """The bytes do not have the expected digest, also after fetching them again."""

    exit_code = 7


class DamagedError(SmartRemoteError, ValueError):
    """A file is not what it should be, or is damaged: a part record, a zip archive."""

    exit_code = 8


class BusyError(SmartRemoteError, BlockingIOError):
    """Another process is working on the file."""

    exit_code = 9
    errno = errno.EAGAIN

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class ClosedError(SmartRemoteError, ValueError):
    """The file or manager was closed before or while it was used."""


def bug(error: BaseException) -> SmartRemoteError:
    """Return an unforeseen *error* as one that a thread can hand on to its caller.

    Too little memory, and a locale without the characters that are needed, are the machine's trouble and no bug.
    """
    failure: SmartRemoteError
    if isinstance(error, MemoryError):
        failure = LocalError("a problem on this machine", "out of memory")
    elif isinstance(error, UnicodeEncodeError):
        what = ascii(error.object[error.start : error.end])
        why = f"the locale's character set, {error.encoding}, cannot spell {what}"
        failure = LocalError("a problem on this machine", why)
    else:
        failure = SmartRemoteError("a bug in smartremote", f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
