"""How the test server is asked, and what it holds."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from tests.support.server import Headers, Server, pattern
from tests.support.threads import PATIENCE

SIZE = 200_000
DATA = pattern(SIZE)
PART = DATA[1000:2000]
RANGE = {"Range": "bytes=1000-1999"}
TAG = '"one"'
DATE = "Wed, 01 Jan 2025 00:00:00 GMT"
AFTER, BEFORE = "Thu, 02 Jan 2025 00:00:00 GMT", "Tue, 31 Dec 2024 00:00:00 GMT"
NONE: dict[str, str] = {}


@dataclass
class Answer:
    """What came over the wire, and how that ended."""

    raw: bytes = b""
    end: str = "eof"

    @property
    def head(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def headers(self) -> Headers:
        lines = (line.partition(":") for line in self.head.split("\r\n")[1:])
        return Headers((name, value.strip()) for name, _, value in lines)


def ask(
    server: Server,
    headers: dict[str, str] | None = None,
    target: str = "/file.bin",
    method: str = "GET",
    *,
    patience: float = PATIENCE,
    most: int = 1 << 30,
) -> Answer:
    """Send one request on a connection of its own and read until it ends, however it does."""
    fields = {"Host": server.netloc, "Connection": "close", **(headers or {})}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    answer = Answer()
    with socket.create_connection((server.host, server.port), 5) as sock:
        sock.settimeout(patience)
        sock.sendall("\r\n".join(lines).encode())
        try:
            while len(answer.raw) < most and (arrived := sock.recv(1 << 16)):
                answer.raw += arrived
        except TimeoutError:
            answer.end = "timeout"
        except ConnectionResetError:
            answer.end = "reset"
    return answer
