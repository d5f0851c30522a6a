"""List the root folder of a remote ISO image, without downloading it: python examples/list_iso.py URL

ECMA-119: sectors of 2048 bytes; the primary volume descriptor is the 17th, and holds the root's directory record.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

import smartremote_cli as smartremote

SECTOR = 2048


def records(directory: bytes) -> Iterator[tuple[str, int, bool]]:
    """Yield name, size in bytes and whether it is a folder, for all entries but the folder itself and its parent."""
    for sector in range(0, len(directory), SECTOR):
        at = sector
        while at < sector + SECTOR and (length := directory[at]):
            record = directory[at : at + length]
            size, flags, name_length = struct.unpack_from("<10xI11xB6xB", record)
            name = record[33 : 33 + name_length]
            if name not in (b"\x00", b"\x01"):
                yield name.decode("ascii", "replace").removesuffix(";1"), size, bool(flags & 2)
            at += length


def main(url: str) -> None:
    with smartremote.DownloadManager(idle_download=False) as manager, manager.reader_at(url) as f:
        descriptor = f.read_at(16 * SECTOR, SECTOR)
        if descriptor[:6] != b"\x01CD001":
            raise SystemExit(f"{url} is not an ISO 9660 image")
        start, size = struct.unpack_from("<2xI4xI", descriptor, 156)
        for name, length, is_folder in records(f.read_at(start * SECTOR, size)):
            print(f"{'folder' if is_folder else length:>12}  {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
