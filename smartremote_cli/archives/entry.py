"""Entry and Archive: what an archive of any format says about its members and about itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class Entry(Protocol):
    """One member, as the archive states it; nothing of it has been checked. None is what the format does not say.

    Each format has a class of its own for this. The properties may be computed when they are asked for, so that a
    listing of names does not pay for dates.
    """

    @property
    def name(self) -> str:
        """The path in the archive. Bytes that are no text are lone surrogates (surrogateescape)."""

    @property
    def size(self) -> int:
        """Bytes of the member once it is extracted."""

    @property
    def compressed_size(self) -> int | None:
        """Bytes that the member takes in the archive."""

    @property
    def method(self) -> str | None:
        """How the member is compressed: `store`, `deflate`."""

    @property
    def modified(self) -> datetime | None:
        """When the member was modified, without a zone where the format states none; None where no such date exists."""

    @property
    def unix_time(self) -> int | None:
        """When the member was modified in seconds since 1970, where the archive says it in a form with a zone."""

    @property
    def stored_minute(self) -> str | None:
        """The stored date up to the minute, `2024-01-02 03:04`, as it stands: also one that does not exist."""

    @property
    def crc32(self) -> int | None:
        """CRC-32 of the extracted bytes."""

    @property
    def offset(self) -> int | None:
        """Where the member begins in the file, its own header included."""

    @property
    def is_dir(self) -> bool:
        """Whether the member is a folder."""

    @property
    def encrypted(self) -> bool:
        """Whether a password is needed to extract the member."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What `list_archive` found. Iterate over it once: entries are read from the archive as they are asked for."""

    format: str  # its name in the table of formats: "zip"
    comment: str  # about the whole archive; empty when there is none
    entries: Iterable[Entry]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)
