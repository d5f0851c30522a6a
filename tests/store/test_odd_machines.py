"""Systems and file systems that lack a call, or answer it oddly."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import LocalError
from smartremote_cli.protocol.headers import Headers
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.data_file import check_room_beside
from smartremote_cli.store.file_destination import FileDestination
from smartremote_cli.store.files import fitting_name, local, sync_file


class Head(NamedTuple):
    """An answer's status and fields."""

    status: int
    headers: Headers


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


def test_a_name_that_the_folder_refuses_is_spelled_with_more_care(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exFAT refuses a colon when a file is made or takes its name; to look for such a file finds nothing."""

    def refusing(real: Callable[..., Any], place: int) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            looks = real is os_open and not arguments[1] & os.O_CREAT
            if ":" in os.path.basename(os.fsdecode(arguments[place])) and not looks:
                raise OSError(errno.EINVAL, "Invalid argument")
            return real(*arguments, **options)

        return call

    os_open = os.open
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "open", refusing(os.open, 0))
    monkeypatch.setattr(os, "replace", refusing(os.replace, 1))
    monkeypatch.setattr(os, "link", refusing(os.link, 1))
    destination = FileDestination("http://example.com/x", "example.com/x", None)
    named = Head(200, Headers([("Content-Disposition", 'attachment; filename="12:30.bin"')]))
    copy = destination.open(Identity(3, '"one"'), named).copy
    copy.write(0, memoryview(b"abc"))
    copy.blocks.hold(ByteRange(0, 3))
    destination.finish()
    destination.close()
    assert os.listdir(tmp_path) == ["12_30.bin"]
    assert (tmp_path / "12_30.bin").read_bytes() == b"abc"
