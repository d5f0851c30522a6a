"""What a `FileDestination` has found at its path, or made there."""

from __future__ import annotations

from typing import NamedTuple

from .existing_file import ExistingFile
from .local_copy import LocalCopy
from .part import Record
from .stamp import Stamp


class Nothing(NamedTuple):
    """No copy is open yet, or no longer."""

    copy: None = None


class Partial(NamedTuple):
    """A download of ours, locked. *record* says what its blocks are of; without identity, that is not known."""

    copy: LocalCopy
    record: Record


class Emptied(NamedTuple):
    """A download of ours that gave up all that it held, and starts over."""

    copy: LocalCopy


class Finished(NamedTuple):
    """A download of ours that is complete; its record is gone."""

    copy: LocalCopy


class Existing(NamedTuple):
    """A file without a record, which may be the resource: to be compared, and not to be touched.

    One that we finished, untouched since, carries a *stamp*: what the server says decides then.
    """

    copy: ExistingFile
    stamp: Stamp | None = None
