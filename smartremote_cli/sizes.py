"""Numbers of bytes as people write them: `4096`, `64K`, `1M`, `2G` (powers of 1024) and `0x1000`."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([+-]?)(?:(0x[0-9a-f]+)|(\d+)(?:([kmgt])(?:i?b)?|b)?)", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MOST_DIGITS = 20


def parse_size(text: str, *, signed: bool = False) -> int:
    """Return the number of bytes that *text* names; ValueError, saying what was expected, when it names none."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or len(text) > _MOST_DIGITS or (found[1] == "-" and not signed):
        raise ValueError(f"{text!r} is not a number of bytes (4096, 64K, 1M, 2G, 0x1000)")
    value = int(found[2], 16) if found[2] else int(found[3]) * 1024 ** _POWERS[(found[4] or "").lower()]
    return -value if found[1] == "-" else value
