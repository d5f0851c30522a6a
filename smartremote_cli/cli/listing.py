"""What `zip-ls` prints: the table of `unzip -l`, bare names, or JSON lines; and what a PATTERN picks.

Formats are generators of text, so that an archive of any size is listed in little memory; `write` batches
them.
"""

from __future__ import annotations

import fnmatch
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Protocol

from ..archives.zip import Entry
from ..core.text import printable


class Sink(Protocol):
    """Whatever takes bytes."""

    def write(self, data: bytes, /) -> object: ...


_BATCH = 1000  # lines a write: about 64 KiB


class Patterns:
    """The PATTERNs of a command line. A name is listed when any of them fits all of it, or there is none.

    As unzip's: case-sensitive, `*` and `?` match a slash too, `[!a]` and `[^a]` exclude, a backslash makes
    the next character an ordinary one.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._tests = [(pattern, re.compile(_translate(pattern)).match) for pattern in patterns]
        self._idle = dict(self._tests)  # those that nothing has matched yet

    @property
    def unmatched(self) -> list[str]:
        """The patterns that no entry has matched so far, in their order."""
        return list(self._idle)

    def matches(self, name: str) -> bool:
        """Return whether any pattern fits *name*, and remember which did."""
        for pattern in [idle for idle, fits in self._idle.items() if fits(name)]:
            del self._idle[pattern]
        return not self._tests or any(fits(name) for _, fits in self._tests)

    def select(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        """Return the entries that match. `unmatched` is final once they are used up."""
        return (entry for entry in entries if self.matches(entry.name)) if self._tests else entries


def _translate(pattern: str) -> str:
    """Return *pattern* as a regular expression, by way of fnmatch, whose own never take exponential time."""

    def as_fnmatch(match: re.Match[str]) -> str:
        if match[0] == "[^":
            return "[!"
        return f"[{match[1]}]" if match[1] in "*?[" else match[1]

    return fnmatch.translate(re.sub(r"\\(.)|\[\^", as_fnmatch, pattern, flags=re.DOTALL))


def table(entries: Iterable[Entry], archive: str, comment: bytes = b"") -> Iterator[str]:
    """Yield the lines of `unzip -l`, from the archive's name to the totals, with control characters escaped.

    As there, Info-ZIP's own time stamps are shown in the local time zone where an entry has them, and
    impossible dates as they are stored.
    """
    yield f"Archive:  {printable(archive)}\n"
    yield from _comment_lines(comment)
    yield "  Length      Date    Time    Name\n---------  ---------- -----   ----\n"
    total = count = 0
    for entry in entries:  # 100,000 times for a large archive: rjust and isprintable save a tenth of it all
        size, name = entry.size, entry.name
        stamp = entry.unix_time if entry.extra else None
        when = _dos_minute(entry.dos_time >> 5) if stamp is None else _local_minute(stamp // 60)
        yield f"{str(size).rjust(9)}  {when}   {name if name.isprintable() else printable(name)}\n"
        total += size
        count += 1
    yield "---------                     -------\n"
    yield f"{total:9}                     {count} {'file' if count == 1 else 'files'}\n"


def _comment_lines(comment: bytes) -> Iterator[str]:
    """Yield an archive's comment by the line, as UTF-8 if it is that, else cp437: nothing states it."""
    if comment:
        try:
            text = comment.decode("utf-8")
        except UnicodeDecodeError:
            text = comment.decode("cp437")
        for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n"):
            yield "\t".join(map(printable, line.split("\t"))) + "\n"


# Neighbours were written together: they share their minute more often than not.
@lru_cache(maxsize=1024)
def _dos_minute(dos: int) -> str:
    day = f"{(dos >> 20) + 1980:04}-{dos >> 16 & 15:02}-{dos >> 11 & 31:02}"
    return f"{day} {dos >> 6 & 31:02}:{dos & 63:02}"


@lru_cache(maxsize=1024)
def _local_minute(minute: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(minute * 60))


def names(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the names, one a line, with control characters escaped, so that a name is a line."""
    return (printable(entry.name) + "\n" for entry in entries)


def raw_names(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the names as they are, a NUL after each. Write them with errors="surrogateescape"."""
    return (entry.name + "\0" for entry in entries)


def json_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield one JSON object a line, in ASCII; `modified` is null where there is no such date."""
    quote = json.JSONEncoder().encode  # for the name alone: whole objects would take three times as long
    for entry in entries:
        modified = f'"{when.isoformat()}"' if (when := entry.modified) else "null"
        yield (
            f'{{"name": {quote(entry.name)}, "size": {entry.size}, '
            f'"compressed_size": {entry.compressed_size}, "method": "{entry.method_name}", '
            f'"modified": {modified}, "crc32": "{entry.crc32:08x}", "offset": {entry.offset}, '
            f'"is_dir": {_json_bool(entry.is_dir)}, "encrypted": {_json_bool(entry.encrypted)}}}\n'
        )


def _json_bool(value: bool) -> str:
    return "true" if value else "false"


def write(lines: Iterable[str], out: Sink, encoding: str = "utf-8", errors: str = "backslashreplace") -> None:
    """Write *lines* to *out* in large pieces. When they end in an error, those before it are written."""
    left = iter(lines)
    while True:
        batch: list[str] = []
        try:
            batch.extend(islice(left, _BATCH))  # keeps what came before an exception
        finally:
            if batch:
                out.write("".join(batch).encode(encoding, errors))
        if not batch:
            return
