"""Evidence: what speaks against a file without our record being complete, and where to compare it with the resource.

The file is only read. What is found here needs no network; what the server has is compared by the transfer.
"""

from __future__ import annotations

import os
import random
import shlex
import stat
from collections.abc import Iterator
from itertools import chain

from ..core.blocks import BLOCK
from ..core.ranges import ByteRange
from ..core.text import printable
from ..errors import DamagedError, ForeignFileError
from .files import holes, is_marked
from .leftovers import record_path
from .part import PREFIX
from .sums import sums_path

# What other downloaders keep beside a file for as long as it is unfinished: the ending, and whose it is.
CONTROL_FILES = (
    (".aria2", "aria2"),
    (".st", "axel"),
    (".lftp-pget-status", "lftp"),
    (".!qB", "qBittorrent"),
)

# Bytes of one comparison, at places that may be chosen freely: a page, which is what a disk or a downloader leaves out
# at the least (contract).
SAMPLE_BYTES = 4096

# Blocks to compare beside the first and the last one (contract). They find a file of another version, of which an
# eighth differs, in nine cases of ten.
RANDOM_PLACES = 16

# Runs of zeros to compare: as many as the contract names. Half of them are the longest ones, for what a downloader has
# not fetched is longer than what a resource has of zeros.
MAX_ZERO_RUNS = 64

# A run of zeros is looked for in windows of this many bytes: one lies within any run of a block.
_WINDOW = BLOCK // 2
_ZEROS = bytes(_WINDOW)
# Bytes of one read. By judgement: 1 MiB makes a system call cheap beside its comparison.
_READ_BYTES = 1 << 20

_random = random.SystemRandom()


def control_file(path: str) -> tuple[str, str] | None:
    """Return the (path, owner) of a control file beside *path*; None where there is none."""
    for ending, owner in CONTROL_FILES:
        if _is_file(path + ending):
            return path + ending, owner
    return None


def against(path: str) -> str | None:
    """Return what speaks against the existing file *path*, which has no record of ours; None when nothing does.

    The mark of an unfinished file is not looked at: Go's SmartRemote finishes files and leaves it.
    """
    found = control_file(path)
    if found is not None:
        control, owner = found
        return f"{owner} has not finished it ({printable(os.path.basename(control))})"
    if has_holes(path):
        return "it has holes, which were never written"
    return None


def is_foreign(path: str) -> bool:
    """Return whether something on this machine speaks against the file *path*, which has neither record nor stamp."""
    return is_marked(path) or _is_file(sums_path(path)) or against(path) is not None


def is_foreign_part(path: str, least: int = 1) -> bool:
    """Return whether the `.part` of *path* is another program's unfinished download of *least* bytes or more.

    A damaged record of ours begins as one does, or with the zeros of a file whose data a power cut has taken.
    """
    part = record_path(path)
    if not _is_file(part):
        return False
    try:
        with open(part, "rb") as file:
            head = file.read(SAMPLE_BYTES)
    except OSError:
        return False
    return len(head) >= least and not head.startswith(PREFIX[: len(head)]) and any(head)


def has_holes(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return next(holes(descriptor, os.fstat(descriptor).st_size), None) is not None
    finally:
        os.close(descriptor)


def unfinished(path: str, why: str, url: str, new: str | None = None) -> ForeignFileError:
    """Return the error for a file that another program, or we, have left unfinished, with what goes on with it."""
    words = ["smartremote", "adopt", path, "--url", url] + ([] if new is None else ["-o", new])
    return ForeignFileError(path, why, hint=f"go on with: {shlex.join(words)}")


def another_programs(path: str, url: str) -> DamagedError:
    """Return the error for a `.part` that is another program's download: it is never overwritten."""
    part = record_path(path)
    words = shlex.join(["smartremote", "adopt", part, "--url", url, "-o", path])
    return DamagedError(
        part,
        "no part record of smartremote; another program may be downloading here",
        hint=f"go on with: {words}",
    )


def places(size: int, zeros: list[ByteRange]) -> tuple[ByteRange, ...]:
    """Return where to compare a file of *size* bytes: first and last block, others at random, and in its *zeros*.

    A run of zeros is compared at its end, which is the likeliest place for bytes that were never written, and at
    random: it may begin where the resource has zeros as well.
    """
    count = -(-size // BLOCK)
    if not count:
        return ()
    inner = range(1, count - 1)
    blocks = _random.sample(inner, min(RANDOM_PLACES, len(inner)))
    samples = {_within(ByteRange(block * BLOCK, (block + 1) * BLOCK)) for block in blocks}
    last = max((count - 1) * BLOCK, size - SAMPLE_BYTES)
    samples |= {ByteRange(0, min(SAMPLE_BYTES, size)), ByteRange(last, size)}
    for run in zeros:
        samples |= {_within(run), ByteRange(max(run.start, run.stop - SAMPLE_BYTES), run.stop)}
    return tuple(sorted(_apart(samples)))


def _apart(samples: set[ByteRange]) -> Iterator[ByteRange]:
    """Yield the *samples*; of two that overlap, the one that begins earlier, and of the other what is left."""
    reached = 0
    for sample in sorted(samples):
        if sample.stop > reached:
            yield ByteRange(max(sample.start, reached), sample.stop)
            reached = sample.stop


def _within(part: ByteRange) -> ByteRange:
    """Return a sample at a random page of *part*."""
    pages = max(0, len(part) - SAMPLE_BYTES) // SAMPLE_BYTES
    start = part.start + _random.randint(0, pages) * SAMPLE_BYTES
    return ByteRange(start, min(start + SAMPLE_BYTES, part.stop))


def zero_runs(descriptor: int, size: int, least: int = BLOCK) -> list[ByteRange]:
    """Return up to `MAX_ZERO_RUNS` runs of at least *least* zeros in the open file, which is read once."""
    longest: list[ByteRange] = []
    others: list[ByteRange] = []
    seen = 0
    for run in all_zero_runs(descriptor, size, least):
        longest.append(run)
        if len(longest) <= MAX_ZERO_RUNS // 2:
            continue
        longest.sort(key=len, reverse=True)
        seen += 1
        dropped = longest.pop()  # reservoir sampling: each of the others is kept with the same chance
        if len(others) < MAX_ZERO_RUNS // 2:
            others.append(dropped)
        elif (index := _random.randrange(seen)) < len(others):
            others[index] = dropped
    return sorted(longest + others)


def all_zero_runs(descriptor: int, size: int, least: int = BLOCK) -> Iterator[ByteRange]:
    """Yield the runs of at least *least* zeros in the open file, in order; *least* is a block or more."""
    start = stop = 0  # the run so far
    for window in chain(_zero_windows(descriptor, size), [ByteRange(size + _WINDOW, size + 2 * _WINDOW)]):
        if window.start == stop and stop > start:
            stop = window.stop
            continue
        if stop > start:
            run = _widened(descriptor, ByteRange(start, stop), size)
            if len(run) >= least:
                yield run
        start, stop = window.start, window.stop


def _zero_windows(descriptor: int, size: int) -> Iterator[ByteRange]:
    for at in range(0, size, _READ_BYTES):
        data = os.pread(descriptor, min(_READ_BYTES, size - at), at)
        for index in range(0, len(data) - _WINDOW + 1, _WINDOW):
            if data[index] == 0 and data[index : index + _WINDOW] == _ZEROS:
                yield ByteRange(at + index, at + index + _WINDOW)
        if not data:
            return


def _widened(descriptor: int, run: ByteRange, size: int) -> ByteRange:
    """Return *run* with the zeros just before and after it."""
    before = os.pread(descriptor, min(_WINDOW, run.start), max(0, run.start - _WINDOW))
    after = os.pread(descriptor, min(_WINDOW, size - run.stop), run.stop)
    start = run.start - (len(before) - len(before.rstrip(b"\0")))
    return ByteRange(start, run.stop + len(after) - len(after.lstrip(b"\0")))


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
