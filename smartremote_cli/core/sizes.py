"""Numbers of bytes as people write them (`4096`, `64K`, `1M`, `2G`, `0x1000`; powers of 1024), and texts for people."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([+-]?)(?:(0x[0-9a-f]+)|(\d+)(?:([kmgt])(?:i?b)?|b)?)", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MAX_CHARACTERS = 20  # 2^64 has 20 digits; a longer number would only cost time to convert


def parse_size(text: str, *, signed: bool = False) -> int:
    """Return the number of bytes that *text* names; raise ValueError, saying what was expected, for other text."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or len(text) > _MAX_CHARACTERS or (found[1] == "-" and not signed):
        raise ValueError(f"{text!r} is not a number of bytes (4096, 64K, 1M, 2G, 0x1000)")
    value = int(found[2], 16) if found[2] else int(found[3]) * 1024 ** _POWERS[(found[4] or "").lower()]
    return -value if found[1] == "-" else value


UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_text(count: float) -> str:
    """Return *count* bytes with three digits and a unit in powers of 1024: 41.0 MiB."""
    value, unit = float(count), 0
    while value >= 1023.5 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {UNITS[unit]}"


def speed_text(speed: float) -> str:
    return size_text(speed) + "/s"


def duration_text(seconds: float) -> str:
    """Return *seconds* in its two largest units: 0.4 s, 12 s, 3 min 20 s, 1 h 2 min, 2 d 3 h."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"
