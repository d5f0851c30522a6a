"""A local copy on a real disk, as the tests of the store begin, fill, save and reopen it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.leftovers import load_record, record_path
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.part import Record
from tests.support import leftovers
from tests.support.leftovers import leave_partial, version_one
from tests.support.server import pattern

URL = "http://example.org/file.bin"
SIZE = 5 * BLOCK + 77
CONTENT = pattern(SIZE)
IDENTITY = version_one(SIZE)


def part_of(path: Path) -> Path:
    return Path(record_path(str(path)))


def begin(path: Path, **options: Any) -> LocalCopy:
    return LocalCopy.create(str(path), URL, IDENTITY, **options)


def bring(copy: LocalCopy, *blocks: int) -> None:
    leftovers.bring(copy, CONTENT, *blocks)


def save(copy: LocalCopy) -> None:
    copy.checkpoint(copy.draft_record())


def partial(path: Path, *blocks: int) -> Record:
    """Leave what an interrupted run leaves, with these blocks; return its record."""
    return leave_partial(path, URL, CONTENT, blocks, sync=True)


def again(path: Path, **options: Any) -> LocalCopy:
    """Open what an earlier run has left."""
    record = load_record(str(path))
    assert record is not None
    return LocalCopy.reopen(str(path), URL, record, **options)


def failing(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    code: int,
    *,
    of: Any = os,
    when: Callable[[int], bool] = lambda count: True,
) -> list[int]:
    """Let the calls of os.*name* that *when* chooses, counted from 1, fail with *code*; the count is returned."""
    real, calls = getattr(of, name), [0]

    def call(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if when(calls[0]):
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    monkeypatch.setattr(of, name, call)
    return calls
