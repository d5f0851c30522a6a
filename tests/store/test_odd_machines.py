"""Systems and file systems that lack a call, or answer it oddly."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from smartremote_cli.errors import LocalError
from smartremote_cli.store.data_file import check_room_beside
from smartremote_cli.store.files import fitting_name, local, sync_file


def test_macos_has_no_fdatasync_and_wants_its_drives_cache_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.delattr(os, "fdatasync")
    with (tmp_path / "f").open("wb") as file:
        sync_file(file.fileno(), names=False)
        monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
        monkeypatch.setattr(fcntl, "fcntl", lambda _, command: asked.append(command))
        sync_file(file.fileno(), names=False)
    assert asked == [51]


def test_a_file_system_of_no_blocks_cannot_tell_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255)))
    check_room_beside("f", 1 << 40)


def test_a_file_system_without_statfs_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "statvfs", refuse)
    check_room_beside("f", 1 << 40)


def test_names_are_shortened_to_what_the_folder_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pathconf", lambda folder, name: 143)
    name = fitting_name("é" * 100 + ".tar.gz", str(tmp_path))
    assert name.endswith("é.tar.gz"[-3:]) and len(os.fsencode(name + ".part.sums")) <= 143
    assert fitting_name("short.bin", str(tmp_path)) == "short.bin"


def test_a_file_that_is_too_large_for_the_file_system_is_said_with_what_to_do() -> None:
    with pytest.raises(LocalError) as caught, local("f"):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    assert caught.value.hint is not None and "another folder" in caught.value.hint
