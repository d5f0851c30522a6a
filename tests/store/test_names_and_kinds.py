"""Names that are long or odd, links, and what is no file: refused, and left as it was."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.errors import DamagedError, LocalError, SmartRemoteError
from smartremote_cli.store.leftovers import inspect, load_record
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.part import MAX_RECORD, Record
from tests.store.on_disk import CONTENT, IDENTITY, URL, again, begin, bring, part_of, partial, save
from tests.support.tool import names


@pytest.mark.parametrize("length", [240, 245, 246, 247, 250])
def test_long_names_have_records_and_leave_nothing(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("ä" * 20 + "n" * (length - 40))
    assert len(os.fsencode(path.name)) == length
    copy = begin(path)
    bring(copy, *range(6))
    save(copy)
    assert names(tmp_path) == [path.name, f"{path.name}.part"]
    copy.finish()
    copy.close()
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("length", [251, 255])
def test_names_too_long_for_a_record_are_refused_untouched(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("n" * length)
    with pytest.raises(LocalError, match="too long for a part record"):
        begin(path)
    assert names(tmp_path) == []
    assert load_record(str(path)) is None


@pytest.mark.parametrize("name", ["with space", "new\nline", "-dash", "ünï", "\udcff\udcfe", "%s{}"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    copy = begin(tmp_path / name)
    bring(copy, *range(6))
    save(copy)
    copy.finish()
    copy.close()
    assert names(tmp_path) == [name]


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices can only be made by root")


def test_an_old_file_that_cannot_be_replaced_gets_no_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder like /tmp, another user's file with a record beside it would be taken for ours."""
    unlink = os.unlink

    def unlink_others(name: str) -> None:
        if name == str(path):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(name)

    path.write_bytes(b"precious")
    monkeypatch.setattr(os, "unlink", unlink_others)
    with pytest.raises(LocalError):
        begin(path, overwrite=True)
    assert names(path.parent) == ["file.bin"]
    assert path.read_bytes() == b"precious"


KINDS: list[Callable[[Path], None]] = [make_folder, make_fifo, make_device]


@pytest.mark.parametrize("make", KINDS)
def test_what_is_no_file_is_refused_and_stays(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    kind = stat.S_IFMT(path.stat().st_mode)
    with pytest.raises(LocalError):
        inspect(str(path))
    with pytest.raises(SmartRemoteError):
        begin(path)
    with pytest.raises(LocalError):
        begin(path, overwrite=True)
    with pytest.raises(LocalError):
        LocalCopy.reopen(str(path), URL, Record(BitMap(), IDENTITY, URL))
    assert names(path.parent) == ["file.bin"] and stat.S_IFMT(path.stat().st_mode) == kind


@pytest.mark.parametrize("make", KINDS)
def test_a_record_that_is_no_file_is_refused_and_stays(path: Path, make: Callable[[Path], None]) -> None:
    make(part_of(path))
    with pytest.raises(LocalError):
        load_record(str(path))
    with pytest.raises(SmartRemoteError):
        begin(path)
    assert names(path.parent) == ["file.bin.part"]


def test_a_symbolic_link_is_no_record(path: Path) -> None:
    target = path.with_name("precious")
    target.write_bytes(b"precious")
    part_of(path).symlink_to(target)
    with pytest.raises(LocalError, match="symbolic link"):
        load_record(str(path))
    for overwrite in (False, True):
        with pytest.raises(LocalError, match="symbolic link"):
            begin(path, overwrite=overwrite)
    assert target.read_bytes() == b"precious" and not path.exists()


def test_a_symbolic_link_to_a_file_stays_one(path: Path) -> None:
    """The record stands beside the name that was given; what the name leads to is filled."""
    target = path.with_name("target")
    target.write_bytes(b"old")
    path.symlink_to(target)
    copy = begin(path, overwrite=True)
    bring(copy, *range(6))
    save(copy)
    assert names(path.parent) == ["file.bin", "file.bin.part", "target"]
    copy.close()
    copy = again(path)
    copy.finish()
    copy.close()
    assert path.is_symlink() and target.read_bytes() == CONTENT


def test_a_symbolic_link_to_nothing_is_refused(path: Path) -> None:
    path.symlink_to("nowhere")
    with pytest.raises(LocalError, match="a symbolic link to nothing"):
        inspect(str(path))
    with pytest.raises(SmartRemoteError):
        begin(path)
    assert names(path.parent) == ["file.bin"]


def test_overwriting_leaves_the_other_names_of_a_file_alone(path: Path) -> None:
    backup = path.with_name("backup")
    backup.write_bytes(b"precious")
    backup.chmod(0o640)
    os.link(backup, path)
    copy = begin(path, overwrite=True)
    bring(copy, *range(6))
    copy.finish()
    copy.close()
    assert backup.read_bytes() == b"precious" and path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_hard_linked_record_is_replaced_not_written_into(path: Path) -> None:
    partial(path, 0)
    other = path.with_name("other")
    os.link(part_of(path), other)
    before = other.read_bytes()
    copy = again(path)
    bring(copy, 1)
    save(copy)
    copy.close()
    assert other.read_bytes() == before and load_record(str(path)) == Record(BitMap([0, 1]), IDENTITY, URL)


def test_a_huge_record_is_not_read(path: Path) -> None:
    with part_of(path).open("wb") as file:
        file.truncate(MAX_RECORD + 1)
    with pytest.raises(DamagedError, match="are no part record"):
        load_record(str(path))
