"""Download: a whole resource into one file, resumed, compared, checked, and only then called complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import stat
from typing import NamedTuple

from ..core.ranges import ByteRange
from ..errors import (
    ChecksumError,
    ForeignFileError,
    LocalError,
    RemoteChangedError,
    RemoteNotFoundError,
    RemotePermissionError,
    UsageError,
)
from ..events import Listener, Notice, ignore
from ..plan import planner
from ..store.cache import Cache
from ..store.existing_file import ExistingFile
from ..store.file_destination import FileDestination
from ..store.files import folder_of
from ..store.leftovers import inspect, record_path
from ..store.local_copy import LocalCopy
from ..transfer.digester import Digester
from ..transfer.state import Policy
from ..transfer.transfer import Transfer
from ..transport.limiter import Limiter
from ..transport.remote import Remote

_MAX_RESTARTS = 3


class Checksum(NamedTuple):
    """An expected digest of the whole resource: *algorithm* as hashlib names it, *digest* in lower-case hex."""

    algorithm: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Checksum:
        """Read ``ALG:HEX``; `UsageError` for an unknown algorithm or a digest of the wrong length."""
        algorithm, colon, digest = text.partition(":")
        algorithm, digest = algorithm.strip().lower(), digest.strip().lower()
        if algorithm not in hashlib.algorithms_available and algorithm.startswith("sha-"):
            algorithm = algorithm.replace("-", "")
        if not colon or algorithm not in hashlib.algorithms_available:
            raise UsageError("--checksum", f"expected ALG:HEX with an algorithm such as sha256, not {text!r}")
        length = hashlib.new(algorithm).digest_size
        if not length:
            raise UsageError("--checksum", f"{algorithm} has no digest of one length")
        if len(digest) != 2 * length or any(char not in "0123456789abcdef" for char in digest):
            raise UsageError("--checksum", f"a {algorithm} digest has {2 * length} hexadecimal digits")
        return cls(algorithm, digest)

    def agrees_with(self, copy: LocalCopy | ExistingFile) -> bool:
        """Read the whole copy and return whether it has this digest."""
        size = copy.identity.size or 0
        hasher = hashlib.new(self.algorithm)
        for start in range(0, size, planner.MIB):
            hasher.update(copy.read(ByteRange(start, min(start + planner.MIB, size))))
        return hasher.hexdigest() == self.digest


class DownloadOptions(NamedTuple):
    """How a download is to be done; the command line's options, in short."""

    policy: Policy = Policy()
    checksum: Checksum | None = None
    restart_on_change: bool = False
    overwrite: bool = False
    sync: bool = True


class Download:
    """One resource on its way into one file. `run` does it all; `stop` may be called from anywhere."""

    def __init__(
        self,
        remote: Remote,
        path: str | None,
        wishes: DownloadOptions | None = None,
        *,
        cache: Cache | None = None,
        listener: Listener = ignore,
        limiter: Limiter | None = None,
        other_url: bool = False,
    ) -> None:
        """Look at *path* as `FileDestination` does, and raise what it raises."""
        self.remote = remote
        self.transfer: Transfer | None = None
        self._wishes = wishes or DownloadOptions()
        self._listener = listener
        self._limiter = limiter
        self._destination = FileDestination(
            remote.url,
            remote.name,
            path,
            cache=cache,
            listener=listener,
            overwrite=self._wishes.overwrite,
            sync=self._wishes.sync,
            other_url=other_url,
        )

    def run(self) -> str:
        """Bring the file to completion and return its path. Raises what stops it; progress is then kept."""
        for attempt in range(_MAX_RESTARTS):
            try:
                return self._fill()
            except (RemotePermissionError, RemoteNotFoundError) as error:
                copy = self._destination.copy
                if isinstance(copy, LocalCopy) and error.hint is None:  # a signature may have expired
                    error.hint = f"run: smartremote complete {shlex.quote(copy.path)} --url NEW"
                raise
            except RemoteChangedError as error:
                if not self._wishes.restart_on_change or attempt == _MAX_RESTARTS - 1:
                    error.hint = error.hint or "--on-change restart drops what is held and starts over"
                    raise
                self._listener(Notice(f"{error}: starting over"))
                if self.transfer is not None:
                    self.transfer.stop()
                    self.transfer.outlast()
                self._destination.give_up_held()
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End the transfer with a last checkpoint, and close the file."""
        if self.transfer is not None:
            self.transfer.stop()
        self._destination.close()

    def _fill(self) -> str:
        destination, checksum = self._destination, self._wishes.checksum
        first, condition = destination.first(0, None)
        transfer = Transfer(
            self.remote,
            destination.open,
            first,
            self._wishes.policy,
            self._listener,
            self._limiter,
            condition,
        )
        self.transfer = transfer
        transfer.open()
        with contextlib.ExitStack() as stack:
            digesters = [
                stack.enter_context(Digester(transfer, expected.algorithm))
                for expected in self._expected(transfer)
                if isinstance(destination.copy, LocalCopy)
            ]
            transfer.ensure()
            if isinstance(destination.copy, LocalCopy):
                self._check(destination.copy, transfer, digesters)
        copy = destination.copy
        assert copy is not None
        if isinstance(copy, ExistingFile):
            if checksum is not None and not checksum.agrees_with(copy):
                raise ForeignFileError(
                    copy.path, f"a file of that name exists, and its {checksum.algorithm} differs"
                )
            transfer.stop()
            return copy.path
        transfer.stop()
        destination.finish()
        return copy.path

    def _check(self, copy: LocalCopy, transfer: Transfer, digesters: list[Digester]) -> None:
        """Hold the whole file against the user's checksum, else against those that the server sent along."""
        digests = {digester.algorithm: digester.hexdigest() for digester in digesters}
        expected = self._expected(transfer)
        wrong = next((checksum for checksum in expected if not _agrees(checksum, copy, digests)), None)
        if wrong is None:
            return
        self._listener(Notice(f"{wrong.algorithm} does not match: fetching everything again"))
        transfer.start_over()
        transfer.ensure()
        for checksum in self._expected(transfer) or expected:
            if not checksum.agrees_with(copy):
                why = f"its {checksum.algorithm} is not {checksum.digest}, also when fetched again"
                raise ChecksumError(self.remote.name, why)

    def _expected(self, transfer: Transfer) -> list[Checksum]:
        if self._wishes.checksum is not None:
            return [self._wishes.checksum]
        return [Checksum(digest.algorithm, digest.value.hex()) for digest in transfer.digests]


def _agrees(checksum: Checksum, copy: LocalCopy, digests: dict[str, str]) -> bool:
    known = digests.get(checksum.algorithm)
    return checksum.agrees_with(copy) if known is None else known == checksum.digest


def check_output(path: str) -> None:
    """Raise `LocalError` when *path* cannot be a data file: a folder, a device, a folder that does not exist."""
    folder = folder_of(path)
    try:
        is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
    except OSError as error:
        raise LocalError(folder, error.strerror or str(error)) from error
    if not is_folder:
        raise LocalError(folder, "is not a folder")
    inspect(path)
    if os.path.islink(record_path(path)):
        raise LocalError(record_path(path), "is a symbolic link, which a record may not be")
