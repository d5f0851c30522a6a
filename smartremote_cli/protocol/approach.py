"""Approach: how a server is asked for a resource, and what its answers so far have taught about asking it.

An approach is a value. `verdict.judge` takes one and returns the next; each source of a transfer has its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange
from .answers import Asked
from .identity import Identity

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Approach(NamedTuple):
    """How to ask. *first* is the first request, *condition* the headers that go with it.

    *preconditions* says whether later requests carry one (RFC 9110, 13). *repeated* says that the last answer was
    asked for a second time, without a condition; *implausible* counts the unbelievable answers in a row, and
    *unconfirmed_size* is the size that one of them named.
    """

    first: Asked
    condition: Mapping[str, str] = _NO_HEADERS
    preconditions: bool = True
    repeated: bool = False
    implausible: int = 0
    unconfirmed_size: int | None = None

    def precondition(self, known: Identity | None) -> Mapping[str, str]:
        """Return the header that holds a range request to *known*; empty where none may or can be sent."""
        return known.precondition() if known is not None and self.preconditions else _NO_HEADERS

    def without_conditions(self) -> Approach:
        """Ask without conditions from here on."""
        first = self.first._replace(conditional=False)
        return self._replace(first=first, condition=_NO_HEADERS, preconditions=False)

    def without_suffix(self) -> Approach:
        """Ask for the first block instead of the last bytes: its answer brings the size as well."""
        if self.first.suffix is None:
            return self
        return self._replace(first=self.first._replace(range=ByteRange(0, BLOCK), suffix=None))
