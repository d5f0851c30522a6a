"""What tests of the transport share: a body read to its end, a resource, a part of it."""

from __future__ import annotations

from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.protocol.answers import Asked
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.response import Response
from smartremote_cli.transport.transport import Transport
from tests.support.server import pattern

DATA = pattern(300_000)
PART = Asked(range=ByteRange(1000, 5000))


def read(response: Response, size: int = 64 * 1024) -> bytes:
    """Read a body to its end through a view of *size* bytes, and give the connection back."""
    view = memoryview(bytearray(size))
    pieces = []
    try:
        while count := response.read_into(view):
            pieces.append(bytes(view[:count]))
        response.finish()
    finally:
        response.close()
    return b"".join(pieces)


def fetch(url: str, options: Options | None = None, asked: Asked = PART) -> bytes:
    with Transport(options) as transport:
        return read(Remote(url, transport).ask(asked))
