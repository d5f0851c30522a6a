"""What is missing or refused is said at `open`, or at every call, also through a program that swallows errors."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from pathlib import Path

import pytest

import smartremote_cli as smartremote
from smartremote_cli import DownloadManager, errors
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Fault, Server, pattern

DATA = pattern(200_000)

REFUSALS = [
    pytest.param(faults.status(404), FileNotFoundError, id="404"),
    pytest.param(faults.status(403), PermissionError, id="403"),
    pytest.param(faults.status(401), PermissionError, id="401"),
    pytest.param(faults.status(400), OSError, id="400"),
]


@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_open_asks_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, kind: type[OSError]
) -> None:
    monkeypatch.setenv("SMARTREMOTE_CACHE_DIR", str(tmp_path / "cache"))
    with Server(DATA) as server:
        server.faults.append(fault)
        with pytest.raises(kind):
            smartremote.open(server.url())
        server.faults.clear()
        server.reset_log()
        with smartremote.open(server.url(), headers={"X-Asked": "yes"}, user="me:secret") as f:
            assert len(server.requests) == 1
            assert f.read() == DATA


@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_a_file_of_a_manager_says_it_at_every_call(tmp_path: Path, fault: Fault, kind: type[OSError]) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults.append(fault)
        for call in (
            lambda: f.seek(0, os.SEEK_END),
            lambda: f.size,
            f.tell,
            f.readable,
            f.seekable,
            lambda: f.seek(5),
            lambda: f.read(1),
            lambda: f.read_at(1000, 1),
            f.readline,
            lambda: list(f),
            f.stat,
            f.complete,
        ):
            with pytest.raises(kind):
                call()
        server.faults.clear()
        assert f.read(10) == DATA[:10] and f.tell() == 10 and f.readable()


@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
def test_zipfile_does_not_make_a_bad_zip_of_it(tmp_path: Path, fault: Fault, kind: type[OSError]) -> None:
    with Server(DATA) as server, manager(tmp_path) as m:
        server.faults.append(fault)
        with pytest.raises(kind), m.open(server.url()) as f:
            zipfile.ZipFile(f)
        server.faults.clear()
        with pytest.raises(zipfile.BadZipFile), m.open(server.url()) as f:
            zipfile.ZipFile(f)  # which it is not


def test_a_programs_own_error_is_its_own(tmp_path: Path) -> None:
    def use(m: DownloadManager, url: str) -> None:
        with m.open(url) as f:
            with contextlib.suppress(FileNotFoundError):
                f.read(1)
            raise KeyError("something else")

    with Server(DATA) as server, manager(tmp_path) as m, pytest.raises(KeyError):
        use(m, server.url("/no"))


def test_a_file_system_says_it_when_it_opens(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed: its file system is not tried")
    from smartremote_cli.library.filesystem import SmartRemoteFileSystem, close_managers

    with Server(DATA) as server:
        try:
            fs = SmartRemoteFileSystem(tmp_dir=str(tmp_path))
            with pytest.raises(FileNotFoundError):
                fs.open(server.url("/missing"))
            with fs.open(server.url()) as f:
                assert f.read(10) == DATA[:10]
        finally:
            close_managers()


@pytest.mark.parametrize("size", [0, 1])
def test_the_smallest_resources_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setenv("SMARTREMOTE_CACHE_DIR", str(tmp_path / "cache"))
    with Server(DATA[:size]) as server, smartremote.open(server.url()) as f:
        assert f.size == size and f.read() == DATA[:size] and f.read(1) == b""


def test_a_local_error_has_the_systems_number_and_the_name(tmp_path: Path) -> None:
    def use(m: DownloadManager, url: str) -> None:
        with m.open_to(url, tmp_path / "no folder" / "file.bin") as f:
            f.read(1)

    with Server(DATA) as server, manager(tmp_path) as m, pytest.raises(errors.LocalError) as caught:
        use(m, server.url())
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename and str(tmp_path) in str(caught.value.filename)
    assert str(caught.value).startswith(f"{caught.value.what}: ")
