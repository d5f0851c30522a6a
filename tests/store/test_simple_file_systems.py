"""File systems without links, attributes, locks, holes or syncs will do."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.errors import BusyError
from smartremote_cli.store.leftovers import inspect
from tests.store.on_disk import CONTENT, again, begin, bring, failing, partial, save
from tests.support.tool import names


def test_a_file_system_without_links_attributes_locks_or_holes_will_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "link", errno.EPERM)
    failing(monkeypatch, "setxattr", errno.EOPNOTSUPP)
    failing(monkeypatch, "getxattr", errno.EOPNOTSUPP)
    failing(monkeypatch, "removexattr", errno.EOPNOTSUPP)
    failing(monkeypatch, "flock", errno.ENOLCK, of=fcntl)
    failing(monkeypatch, "lseek", errno.EINVAL)
    failing(monkeypatch, "fchmod", errno.EPERM)
    partial(path, 0, 4)
    with pytest.raises(BusyError):
        begin(path)
    copy = again(path)
    assert copy.blocks.bits == BitMap([0, 4])
    bring(copy, 1, 2, 3, 5)
    save(copy)
    copy.finish()
    copy.close()
    assert path.read_bytes() == CONTENT and names(path.parent) == ["file.bin"]


def test_a_system_without_extended_attributes_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("setxattr", "getxattr", "removexattr"):
        monkeypatch.delattr(os, name)
    partial(path, *range(6))
    assert inspect(str(path)) is not None
    copy = again(path)
    copy.finish()
    copy.close()
    assert names(path.parent) == ["file.bin"]


def test_a_folder_that_cannot_be_synced_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    partial(path, 0, 4)
    assert again(path).blocks.bits == BitMap([0, 4])


def test_a_sync_that_a_file_system_does_not_have_is_no_failure(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "fdatasync", errno.EINVAL)
    copy = begin(path)
    bring(copy, *range(6))
    save(copy)
    copy.finish()
    copy.close()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("code", [errno.EACCES, errno.EXDEV, errno.EPERM, errno.ENOTSUP])
def test_where_hard_links_are_not_to_be_had_a_record_is_made_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failing(monkeypatch, "link", code)
    begin(path).close()
    assert names(path.parent) == ["file.bin", "file.bin.part"]
