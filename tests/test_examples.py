"""The programs in examples/, run as their docstrings say."""

from __future__ import annotations

import ast
import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.requests import blocks_sent
from tests.support.server import Held, Patterned, Resource, Server, pattern
from tests.support.threads import PATIENCE

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
MIB = 1 << 20


def run(name: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SMARTREMOTE_CACHE_DIR": str(folder / "cache"), "PYTHONUTF8": "1"}
    words = [sys.executable, "-X", "dev", "-W", "error", str(FOLDER / f"{name}.py"), *arguments]
    return subprocess.run(
        words, capture_output=True, text=True, env=environment, cwd=folder, timeout=PATIENCE
    )


def test_a_zip_is_listed_at_the_cost_of_its_directory(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("big.bin", pattern(20 * MIB))
        z.writestr("ham/spam.txt", b"eggs\n")
    with Server(archive.getvalue()) as server:
        ran = run("list_zip", server.url(), "ham/spam.txt", folder=tmp_path)
    assert (ran.returncode, ran.stdout.splitlines()) == (
        0,
        [f"{20 * MIB:>12}  big.bin", f"{5:>12}  ham/spam.txt", r"b'eggs\n'"],
    ), ran.stderr


def iso(names: list[tuple[bytes, int, bool]]) -> bytes:
    """Return as much of an ISO 9660 image as its root folder needs, at the 1000th sector."""

    def record(name: bytes, sector: int, size: int, folder: bool) -> bytes:
        both = (
            struct.pack("<I", sector)
            + struct.pack(">I", sector)
            + struct.pack("<I", size)
            + struct.pack(">I", size)
        )
        body = both + bytes(7) + bytes([2 * folder, 0, 0, 1, 0, 0, 1, len(name)]) + name
        body += bytes(len(body) % 2)
        return bytes([len(body) + 2, 0]) + body

    root = record(b"\x00", 1000, 2048, True) + record(b"\x01", 1000, 2048, True)
    root += b"".join(record(name, 1050, size, folder) for name, size, folder in names)
    descriptor = (b"\x01CD001\x01" + bytes(149) + record(b"\x00", 1000, 2048, True)).ljust(2048, b"\0")
    image = bytearray(1100 * 2048)
    image[16 * 2048 : 17 * 2048] = descriptor
    image[1000 * 2048 : 1001 * 2048] = root.ljust(2048, b"\0")
    return bytes(image)


def test_an_iso_is_listed_at_the_cost_of_two_blocks(tmp_path: Path) -> None:
    image = iso([(b"BOOT", 2048, True), (b"README.TXT;1", 1234, False)])
    with Server(Held(image + bytes(20 * MIB))) as server:
        ran = run("list_iso", server.url(), folder=tmp_path)
        assert len(blocks_sent(server)) == 2
        assert (ran.returncode, ran.stdout.split()) == (0, ["folder", "BOOT", "1234", "README.TXT"]), (
            ran.stderr
        )
        server.resources["/file.bin"] = Resource(bytes(100_000))
        assert "not an ISO 9660" in run("list_iso", server.url(), folder=tmp_path).stderr


@pytest.mark.parametrize(("lines", "expected"), [("3", 3), ("5000", 5000), ("1000000", 100_000), ("0", 0)])
def test_the_end_of_a_log_is_printed(tmp_path: Path, lines: str, expected: int) -> None:
    log = [f"line {number}\n" for number in range(100_000)]
    with Server("".join(log).encode()) as server:
        ran = run("tail_log", server.url(), lines, folder=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines(keepends=True) == log[100_000 - expected :]
        if expected == 3:
            assert len(blocks_sent(server)) <= 3


def test_a_download_shows_its_progress_and_says_what_went_wrong(tmp_path: Path) -> None:
    with Server(Patterned(20 * MIB)) as server:
        ran = run("download_with_progress", server.url(), "file.bin", folder=tmp_path)
        assert ran.returncode == 0 and f"{20 * MIB} of {20 * MIB} bytes" in ran.stderr, ran.stderr
        assert (tmp_path / "file.bin").read_bytes() == pattern(20 * MIB)
        ran = run("download_with_progress", server.url("/missing"), "other.bin", folder=tmp_path)
        assert ran.returncode == 4 and "404 Not Found" in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_it_is_run_and_is_tried_here(example: Path) -> None:
    assert f"python examples/{example.name} URL" in (
        ast.get_docstring(ast.parse(example.read_text("utf-8"))) or ""
    )
    assert f'run("{example.stem}"' in Path(__file__).read_text("utf-8")
