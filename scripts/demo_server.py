"""Serve two files on loopback, slowly enough that a download can be interrupted, for scripts/demo.

    python scripts/demo_server.py FOLDER [--rate BYTES_PER_SECOND]

Makes demo.bin (40 MB) and demo.zip (300 members) in FOLDER when they are missing, prints the base URL, and
appends a line for every answer to FOLDER/requests.log: status, bytes of body sent, what was asked.
It uses the standard library only, and is not meant for any other purpose.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import threading
import time
import zipfile
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PIECE = 32 * 1024


class Pace:
    """Lets at most *rate* bytes a second pass, on all connections together."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.lock = threading.Lock()
        self.free_at = time.monotonic()

    def wait(self, count: int) -> None:
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + count / self.rate
            pause = self.free_at - time.monotonic()
        time.sleep(max(0.0, pause))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, rate: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pace = Pace(rate)
        self.files = {f"/{file.name}": file.read_bytes() for file in folder.glob("demo.*")}
        self.tags = {
            path: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for path, content in self.files.items()
        }
        self.log = (folder / "requests.log").open("a", buffering=1)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"  # keep-alive
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        content = self.server.files.get(path)
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        tag = self.server.tags[path]
        start, stop, status = 0, len(content), HTTPStatus.OK
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if self.headers.get("If-Match", tag) not in (tag, "*"):
            start, stop, status = 0, 0, HTTPStatus.PRECONDITION_FAILED
        elif self.headers.get("If-None-Match") == tag:
            start, stop, status = 0, 0, HTTPStatus.NOT_MODIFIED
        elif asked and any(asked.groups()) and self.headers.get("If-Range", tag) == tag:
            status = HTTPStatus.PARTIAL_CONTENT
            first, last = asked.groups()
            if first:
                start = int(first)
                stop = min(int(last) + 1, stop) if last else stop
            else:
                start = max(0, stop - int(last))
            if start >= stop:
                start, stop, status = 0, 0, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(stop - start))
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        elif status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.send_header("Content-Range", f"bytes */{len(content)}")
        self.end_headers()
        sent = 0
        try:
            for begin in range(start, stop, PIECE):
                piece = content[begin : min(begin + PIECE, stop)]
                self.server.pace.wait(len(piece))
                self.wfile.write(piece)
                sent += len(piece)
        except OSError:
            self.close_connection = True  # the client is gone: it was interrupted
        self.server.log.write(f"{status.value} {sent} {path} {self.headers.get('Range', '-')}\n")

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: requests.log has it."""


def make_files(folder: Path) -> None:
    """Make the files to serve. Their contents look random and are the same every time."""
    dice = random.Random("smartremote demo")
    if not (folder / "demo.bin").exists():
        (folder / "demo.bin").write_bytes(dice.randbytes(40_000_000))
    if not (folder / "demo.zip").exists():
        with zipfile.ZipFile(folder / "demo.zip", "w") as archive:
            for number in range(300):
                archive.writestr(
                    f"photos/{2020 + number // 60}/image-{number:03}.jpg", dice.randbytes(10_000)
                )


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder on loopback, slowly.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=int, default=10_000_000, help="bytes a second, all together")
    options = parser.parse_args()
    make_files(options.folder)
    server = Server(options.folder, options.rate)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
