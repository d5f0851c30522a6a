"""Where local headers are, when an archive's offsets cannot be taken as they are. Values in, values out.

Without zip64 an offset past 4 GiB is stored modulo 2^32, and so is the offset of the directory, which tells how many
laps of 4 GiB were lost. Members lie in the order of the directory, so where an offset is smaller than the one before
it a lap has passed. A member longer than 4 GiB hides one: which member that is only the local headers tell, and a
few of them are looked at, as in a binary search.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from .zip_end import LAP

# Local headers to look at, each a request when it is not held: a member of over 4 GiB costs about log2(members) of
# them. 64 find three such members among 100,000; beyond it offsets are unknown rather than slow.
MAX_LOOKS = 64

IsHeader = Callable[[int], bool]  # whether a local header begins at this offset of the file


class _Unknown(Exception):
    """The offsets do not fit what is there."""


def unrolled(stored: array[int], directory: int, laps: int, is_header: IsHeader) -> array[int] | None:
    """Return the true offsets for those *stored* modulo 2^32, None when they cannot be told.

    *directory* is the directory's own stored offset, *laps* how many times 2^32 are missing from it.
    """
    offsets, lap, before = array("Q"), 0, -1
    for value in stored:
        if value >= LAP:  # from a zip64 field: it is whole
            lap = value // LAP
        elif value <= before:
            lap += 1
        before = value % LAP
        offsets.append(lap * LAP + before)
    hidden = laps - lap - (directory <= before)
    if hidden < 0 or not offsets:
        return None if offsets else offsets
    try:
        _unroll(offsets, 0, len(offsets), 0, hidden, _limited(is_header))
    except _Unknown:
        return None
    ends = offsets[0], offsets[-1]
    return offsets if all(map(is_header, ends)) else None


def _unroll(offsets: array[int], first: int, stop: int, fewest: int, most: int, is_header: IsHeader) -> None:
    """Add the hidden laps, between *fewest* and *most*, to each of the offsets [first, stop); they never decrease."""
    if first >= stop or not most:
        return
    if fewest == most:
        for index in range(first, stop):
            offsets[index] += fewest * LAP
        return
    middle = (first + stop) // 2
    for laps in range(fewest, most + 1):
        if is_header(offsets[middle] + laps * LAP):
            break
    else:
        raise _Unknown
    offsets[middle] += laps * LAP
    _unroll(offsets, first, middle, fewest, laps, is_header)
    _unroll(offsets, middle + 1, stop, laps, most, is_header)


def _limited(is_header: IsHeader) -> IsHeader:
    left = MAX_LOOKS

    def look(offset: int) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            raise _Unknown
        return is_header(offset)

    return look
