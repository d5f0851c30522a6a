"""What `zip-ls` prints: the table of `unzip -l`, bare names, or JSON lines; and what a PATTERN picks.

Each form is a generator of text, so that an archive of any size is listed in little memory; `write` batches the
lines.
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

from ..archives.entry import Entry
from ..core.text import printable


class Sink(Protocol):
    """Something that bytes can be written to."""

    def write(self, data: bytes, /) -> object: ...


# Lines in one write, about 64 KiB: what a pipe holds on Linux. One write a line would cost a system call each.
_BATCH_LINES = 1000
_MINUTES_REMEMBERED = 1024  # members that were written together share their minute more often than not


class Patterns:
    """The PATTERNs of a command line: an entry is listed when one of them fits its whole name, or when there are none.

    The syntax is unzip's: case-sensitive, `*` and `?` match a slash too, `[!a]` and `[^a]` exclude, a backslash
    makes the next character an ordinary one.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._tests = [(pattern, re.compile(_translate(pattern)).match) for pattern in patterns]
        self._unmatched = dict(self._tests)

    @property
    def unmatched(self) -> list[str]:
        """The patterns that no entry has matched so far, in their order."""
        return list(self._unmatched)

    def matches(self, name: str) -> bool:
        """Return whether a pattern fits *name*, and remember which did."""
        for pattern in [pattern for pattern, fits in self._unmatched.items() if fits(name)]:
            del self._unmatched[pattern]
        return not self._tests or any(fits(name) for _, fits in self._tests)

    def select(self, entries: Iterable[Entry]) -> Iterable[Entry]:
        """Return the entries that match. `unmatched` is final once they are used up."""
        return (entry for entry in entries if self.matches(entry.name)) if self._tests else entries


def _translate(pattern: str) -> str:
    """Return *pattern* as a regular expression, by way of fnmatch: its translations never take exponential time."""

    def as_fnmatch(match: re.Match[str]) -> str:
        if match[0] == "[^":
            return "[!"
        return f"[{match[1]}]" if match[1] in "*?[" else match[1]

    return fnmatch.translate(re.sub(r"\\(.)|\[\^", as_fnmatch, pattern, flags=re.DOTALL))


def table(entries: Iterable[Entry], archive: str, comment: str = "") -> Iterator[str]:
    """Yield the lines of `unzip -l`, from the archive's name to the totals, with control characters escaped.

    Like unzip, show time stamps with a zone in the local time zone, and other dates as they are stored, impossible
    ones included.
    """
    yield f"Archive:  {printable(archive)}\n"
    yield from _comment_lines(comment)
    yield "  Length      Date    Time    Name\n---------  ---------- -----   ----\n"
    total = count = 0
    for entry in entries:
        # 100,000 times for a large archive: rjust and isprintable save a tenth of the whole.
        size, name, stamp = entry.size, entry.name, entry.unix_time
        when = entry.stored_minute or "" if stamp is None else _local_minute(stamp // 60)
        yield f"{str(size).rjust(9)}  {when:16}   {name if name.isprintable() else printable(name)}\n"
        total += size
        count += 1
    yield "---------                     -------\n"
    yield f"{total:9}                     {count} {'file' if count == 1 else 'files'}\n"


def _comment_lines(comment: str) -> Iterator[str]:
    if comment:
        for line in comment.replace("\r\n", "\n").removesuffix("\n").split("\n"):
            yield "\t".join(map(printable, line.split("\t"))) + "\n"


@lru_cache(maxsize=_MINUTES_REMEMBERED)
def _local_minute(minute: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(minute * 60))


def names(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the names, one a line; control characters are escaped, so that a name never takes two lines."""
    return (printable(entry.name) + "\n" for entry in entries)


def raw_names(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the names unchanged, a NUL after each. Write them with errors="surrogateescape"."""
    return (entry.name + "\0" for entry in entries)


def json_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield one JSON object a line, in ASCII; null is what the format does not say, and a date that does not exist."""
    quote = (
        json.JSONEncoder().encode
    )  # for the strings alone: encoding whole objects would take three times as long
    for entry in entries:
        modified = f'"{when.isoformat()}"' if (when := entry.modified) else "null"
        crc32 = "null" if (crc := entry.crc32) is None else f'"{crc:08x}"'
        yield (
            f'{{"name": {quote(entry.name)}, "size": {entry.size}, '
            f'"compressed_size": {_number(entry.compressed_size)}, "method": {_string(entry.method)}, '
            f'"modified": {modified}, "crc32": {crc32}, "offset": {_number(entry.offset)}, '
            f'"is_dir": {_bool(entry.is_dir)}, "encrypted": {_bool(entry.encrypted)}}}\n'
        )


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


@lru_cache(maxsize=256)
def _string(value: str | None) -> str:
    return json.dumps(value)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def write(lines: Iterable[str], out: Sink, encoding: str = "utf-8", errors: str = "backslashreplace") -> None:
    """Write *lines* to *out* in large pieces. When *lines* raises, write the lines before the error first."""
    left = iter(lines)
    while True:
        batch: list[str] = []
        try:
            batch.extend(islice(left, _BATCH_LINES))  # keeps the lines that came before an exception
        finally:
            if batch:
                out.write("".join(batch).encode(encoding, errors))
        if not batch:
            return
