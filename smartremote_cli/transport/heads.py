"""Heads: the head of an answer, taken whole out of what a connection brings, and bounded in time and size."""

from __future__ import annotations

import time

from ..protocol.http1 import MAX_HEAD, GarbledError, Head, end_of_head, is_http2, may_be_head, parse_head
from .connection import Connection, ConnectionEndedError, OtherVersionError

_READ_BYTES = (
    64 * 1024
)  # asked of the socket at once: a usual head, and a small body behind it, come in one read


def receive_head(connection: Connection, timeout: float) -> Head:
    """Return the head of the answer to what was sent last; interim answers are read and dropped.

    All of it has *timeout* seconds from `send` on, which bytes that drip in do not extend, and `MAX_HEAD` bytes. What
    came after the head is the connection's next. Raises TimeoutError, `ConnectionEndedError`, `GarbledError`.
    """
    deadline, room = connection.sent_at + timeout, MAX_HEAD
    while True:
        data = _take_head(connection, deadline, timeout, room)
        room -= len(data)
        head = parse_head(data)
        if head.status == 101:
            raise GarbledError("it switches to a protocol that was not asked for")
        if not head.is_interim:
            return head
        if time.monotonic() > deadline:  # they may come without end
            raise TimeoutError(f"only interim answers for {timeout:g} s")


def _take_head(connection: Connection, deadline: float, timeout: float, room: int) -> bytes:
    """Return what comes up to the end of a head, of at most *room* bytes."""
    data, looked = b"", 0
    while (end := end_of_head(data, looked)) is None and len(data) <= room:
        looked = len(data)
        silence = f"{'no complete answer within' if data else 'nothing received for'} {timeout:g} s"
        more = connection.receive(_READ_BYTES, deadline - time.monotonic(), silence)
        if not more:
            raise ConnectionEndedError("the connection ended before an answer came")
        data += more
        if not may_be_head(data):
            if is_http2(data):
                raise OtherVersionError("it speaks HTTP/2 only")
            raise GarbledError("it is not HTTP/1")
    if end is None or end > room:
        raise GarbledError(f"headers of more than {MAX_HEAD} bytes")
    connection.unread(data[end:])
    return data[:end]
