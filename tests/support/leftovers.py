"""What an interrupted run leaves: made by the store alone, to the block, or by a real `get` that breaks off."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath, unlink

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.part import Record
from smartremote_cli.store.sums import sums_path
from tests.support import faults
from tests.support.server import Resource, Server
from tests.support.tool import Tool

DATE = "Wed, 01 Jan 2025 00:00:00 GMT"  # a `Resource` was last modified then, unless it says otherwise


def version_one(size: int | None) -> Identity:
    """Return what is known of a `Resource` of *size* bytes that was made without a word about validators."""
    return Identity(size, '"one"', DATE, settled=True)


def known_of(resource: Resource) -> Identity:
    """Return what the answers about *resource* say of its identity."""
    date = resource.last_modified
    return Identity(resource.data.size, resource.etag, date, settled=date is not None)


def bring(copy: LocalCopy, content: bytes, *blocks: int) -> None:
    """Write these blocks of *content* and hold them, as a download does when they have arrived."""
    for block in blocks:
        part = ByteRange(block * BLOCK, min((block + 1) * BLOCK, len(content)))
        copy.write(part.start, memoryview(content)[part.start : part.stop])
        copy.blocks.hold(part)


def leave_partial(
    path: str | PathLike[str],
    url: str,
    content: bytes,
    blocks: Iterable[int],
    identity: Identity | None = None,
    *,
    elsewhere: bytes | None = None,
    sums: bool = True,
    sync: bool = False,
) -> Record:
    """Leave a data file with these blocks of *content*, their sums and the record; return the record.

    *elsewhere* is a byte that fills what is not held, which else is a hole: bytes that arrived after the last
    checkpoint. Without *sums* it is as another program leaves it.
    """
    held = sorted(set(blocks))
    copy = LocalCopy.create(fspath(path), url, identity or version_one(len(content)), sync=sync)
    if elsewhere is not None:
        copy.write(0, memoryview(elsewhere * len(content)))
    bring(copy, content, *held)
    copy.checkpoint(copy.draft_record())
    copy.close()
    if not sums:
        unlink(sums_path(fspath(path)))
    record = load_record(fspath(path))
    assert record is not None and list(record.bits) == held
    return record


def interrupt(tool: Tool, server: Server, *options: str, after: int = 2 << 20) -> None:
    """Let a `get` of file.bin break off in the middle, because the server turns it away; forget its requests."""
    stop = [faults.fin(after, when=faults.first(1)), faults.status(404, when=faults.after(1))]
    server.faults += stop
    assert tool("get", server.url(), "-x", "1", "-q", *options).code == 4
    assert tool.files == ["file.bin", "file.bin.part"]
    for fault in stop:
        server.faults.remove(fault)
    server.wait_until_idle()
    server.reset_log()
