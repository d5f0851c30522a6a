"""CacheDestination: the entry of one URL in the cache folder, or memory where the cache cannot be used.

Trouble with the cache costs reuse, and never the command. A person is told of it once.
"""

from __future__ import annotations

from ..errors import BusyError, LocalError, SmartRemoteError
from ..events import Listener, Notice, ignore
from ..protocol.answers import Asked
from ..protocol.headers import Headers
from ..protocol.identity import Identity
from .budget import CacheFullError
from .cache import Cache, StaleEntryError, confirms
from .cached_copy import CachedCopy
from .copies import AnswerHead, Copy, Opened
from .destinations import can_confirm, first_of_held, first_of_nothing, meet_again
from .memory_copy import MemoryCopy
from .part import Record


class CacheDestination:
    """The entry of one URL in the cache folder. What it holds is used only when the server confirms it.

    Where something keeps the entry from being used, the copy is one in memory, and there is no entry.
    """

    is_named = False
    may_be_bounded = True

    def __init__(self, cache: Cache, url: str, name: str, listener: Listener = ignore) -> None:
        """Look the entry of *url* up; *name* is the URL as it may be shown."""
        self._cache = cache
        self._url = url
        self._name = name
        self._listener = listener
        self._entry: CachedCopy | None = None
        self._in_memory: MemoryCopy | None = None
        self.record = cache.find(url)

    @property
    def path(self) -> str | None:
        return None if self._in_memory is not None else self._cache.path_of(self._url)

    @property
    def copy(self) -> CachedCopy | MemoryCopy | None:
        return self._entry or self._in_memory

    @property
    def max_bytes(self) -> int | None:
        """The bound of the copy in memory where the entry cannot be used; None for the entry itself."""
        return None if self.copy is None else self.copy.max_bytes

    def first(self, offset: int, length: int | None) -> tuple[Asked, dict[str, str]]:
        if self.copy is not None:
            held = Record(self.copy.blocks.bits, self.copy.identity)
            return first_of_held(held, offset, length) or (first_of_nothing(offset, length), {})
        asked = None if self.record is None else first_of_held(self.record, offset, length)
        return asked or (first_of_nothing(offset, length), {})

    def open(self, identity: Identity, head: AnswerHead) -> Opened:
        confirmed = head.status == 304
        if self.copy is not None:
            return meet_again(self.copy, self.copy.identity if confirmed else identity, self._name)
        match self.record:
            case Record(identity=Identity() as known) as record if can_confirm(known):
                if confirmed or confirms(known, identity):
                    return self._open(known, head, record)
        return self._open(identity, head, None)

    def _open(self, identity: Identity, head: AnswerHead, record: Record | None) -> Opened:
        """Open the entry as *record* has it, or begin it anew; go on in memory where that cannot be."""
        try:
            if may_be_kept(head.headers):
                if record is not None:
                    self._entry = self._cache.open(self._url, record)
                else:
                    self._entry = self._cache.create(self._url, identity)
                self._entry.told = self._tell
                return Opened(self._entry)
            self._listener(Notice(f"{self._name}: the server does not want it to be kept", detail=True))
        except (LocalError, BusyError) as error:
            # Among them that another process has replaced the entry meanwhile. We cannot tell which of two versions
            # is the newer one, so ours stays in memory.
            self._tell(error)
        self._in_memory = MemoryCopy(identity)
        return Opened(self._in_memory)

    def _tell(self, error: SmartRemoteError) -> None:
        """Warn once of what keeps the cache from working; that it is full or busy is no trouble."""
        is_detail = isinstance(error, BusyError | CacheFullError | StaleEntryError)
        if is_detail or self._cache.is_news(error):
            text = f"the cache is not used: {error}"
            self._listener(Notice(text, detail=is_detail, warning=not is_detail))

    def open_unasked(self) -> Copy | None:
        """Open the entry as it is, without asking the server; None when there is none."""
        if self.copy is None and self.record is not None:
            try:
                self._entry = self._cache.open(self._url, self.record)
                self._entry.told = self._tell
            except (LocalError, BusyError) as error:
                self._tell(error)
        return self.copy

    def give_up_held(self) -> None:
        """Let go of the entry; the next answer begins it anew."""
        self.close()
        self.record = None

    def finish(self) -> None:
        if self._entry is not None:
            self._cache.finish(self._entry)

    def reopen_record(self) -> Copy:
        if self._entry is not None:
            self._cache.reopen_record(self._entry)
        assert self.copy is not None
        return self.copy

    def close(self) -> None:
        entry, self._entry, self._in_memory = self._entry, None, None
        if entry is not None:
            entry.close()
            self._cache.touch(self._url)

    def after_fork_in_child(self) -> None:
        if self.copy is not None:
            self.copy.after_fork_in_child()


def may_be_kept(headers: Headers) -> bool:
    """Return whether an answer with *headers* may be kept, to be used for later requests like it (RFC 9111, 3).

    What it varies by beyond the coding, which is always asked for in the same way, is not all known here.
    """
    directives = {part.partition("=")[0].strip().lower() for part in _list(headers.all("cache-control"))}
    varies = {part.strip().lower() for part in _list(headers.all("vary"))}
    return "no-store" not in directives and varies <= {"", "accept-encoding"}


def _list(values: list[str]) -> list[str]:
    return ",".join(values).split(",")
