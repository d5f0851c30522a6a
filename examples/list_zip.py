"""List a remote zip, and print the beginning of one member: python examples/list_zip.py URL [MEMBER]

zipfile reads it like a local file, and only the directory and the member are fetched.
"""

from __future__ import annotations

import sys
import zipfile

import smartremote_cli as smartremote


def main(url: str, member: str | None = None) -> None:
    with smartremote.open(url) as f, zipfile.ZipFile(f) as archive:
        for info in archive.infolist():
            print(f"{info.file_size:>12}  {info.filename}")
        if member is not None:
            with archive.open(member) as content:
                print(content.read(200))
        print(f"{f.blocks.held} of {f.blocks.count} blocks of 64 KiB are here", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
