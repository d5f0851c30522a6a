"""Save the record of a download in progress and print what that took.

    python -m benchmarks.record_cost SIZE SHAPE FOLDER

SHAPE is `progress` (8 connections, each some way into its part) or `scattered` (every other block is held: the
largest record that there is). Printed is a `Sample` as JSON, of one checkpoint: the median of several.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK, BlockMap
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.data_file import DataFile
from smartremote_cli.store.local_copy import LocalCopy

TIMES = 7
PARTS = 8


def shape(name: str, count: int) -> BitMap:
    """Return which of *count* blocks are held."""
    if name == "scattered":
        return BitMap(range(0, count, 2))
    held = BitMap()
    part = count // PARTS
    for number in range(PARTS):
        held.add_range(number * part, number * part + part * (number + 3) // (PARTS + 4))
    return held


def main(size: int, name: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    path = str(folder / "copy")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, size)
    # Blocks that were there before need no new checksum, as in a download that goes on.
    blocks = BlockMap.fitting(size, shape(name, -(-size // BLOCK)))
    copy = LocalCopy(
        path, "http://127.0.0.1/file", Identity(size, '"tag"'), blocks, DataFile(descriptor, path)
    )
    walls, processors = [], []
    try:
        for _ in range(TIMES):
            wall, processor = time.monotonic(), time.process_time()
            copy.checkpoint(copy.draft_record())
            walls.append(time.monotonic() - wall)
            processors.append(time.process_time() - processor)
    finally:
        copy.discard()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(
        json.dumps(
            {"wall": statistics.median(walls), "processor": statistics.median(processors), "peak": peak}
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
