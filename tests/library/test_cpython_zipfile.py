"""CPython's own tests of zipfile, with every archive that they read served over HTTP and opened as a RemoteFile.

They write archives as ever; what they then open for reading is put on a loopback server first. Installed with most
Pythons as test.test_zipfile (from 3.12 on test.test_zipfile.test_core); skipped, and said so, where it is not.
"""

from __future__ import annotations

import importlib
import io
import itertools
import os
import unittest
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from smartremote_cli import DownloadManager
from tests.support.managers import manager
from tests.support.server import Resource, Server

REAL = zipfile.ZipFile


def find_tests() -> ModuleType | None:
    for name in ("test.test_zipfile.test_core", "test.test_zipfile"):
        try:
            found = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(found, "StoredTestsWithSourceFile"):
            return found
    return None


TESTS = find_tests()
CLASSES = (
    sorted(
        name
        for name, kind in vars(TESTS).items()
        if isinstance(kind, type)
        and issubclass(kind, unittest.TestCase)
        and kind.__module__ == TESTS.__name__
    )
    if TESTS
    else []
)

# What does more than read the archive that it was given.
NOT_OURS = {
    "test_truncated_zipfile",  # cuts the file off while it is open
    "test_many_opens",  # counts descriptors
    "test_repr",  # looks for the repr of the file that it gave
    "CommandLineTest",  # runs in another process
}


class Shelf:
    """A server on which archives are put to be read."""

    def __init__(self, server: Server, opener: DownloadManager) -> None:
        self.served = 0
        self._server = server
        self._manager = opener
        self._numbers = itertools.count()

    def put(self, file: Any) -> io.RawIOBase:
        """Serve what *file*, a path or an open file, holds now, and return it opened from there."""
        if isinstance(file, (str, os.PathLike)):
            data = Path(file).read_bytes()
        else:
            here = file.tell()
            file.seek(0)
            data = file.read()
            file.seek(here)
        path = f"/{next(self._numbers)}.zip"
        self._server.resources[path] = Resource(data)
        self.served += 1
        return self._manager.open(self._server.url(path))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    with Server() as server, manager(tmp_path) as opener:
        shelf = Shelf(server, opener)

        class Served(REAL):
            def __init__(self, file: Any, mode: Any = "r", *rest: Any, **more: Any) -> None:
                readable = isinstance(file, (str, os.PathLike, io.BytesIO)) or hasattr(file, "fileno")
                if mode != "r" or not readable:
                    REAL.__init__(self, file, mode, *rest, **more)
                    return
                remote = shelf.put(file)
                try:
                    REAL.__init__(self, remote, mode, *rest, **more)
                except BaseException:
                    remote.close()
                    raise
                self._filePassed = 0  # it is ours to close
                self.filename = (
                    os.fspath(file) if isinstance(file, (str, os.PathLike)) else getattr(file, "name", None)
                )

        monkeypatch.setattr(zipfile, "ZipFile", Served)
        monkeypatch.setattr(
            TESTS, "FIXEDTEST_SIZE", 200
        )  # lines: fewer than theirs, which are read a byte at a time
        monkeypatch.chdir(tmp_path)
        yield shelf


@pytest.mark.skipif(TESTS is None, reason="THIS PYTHON COMES WITHOUT ITS TESTS (test.test_zipfile)")
@pytest.mark.parametrize("name", [name for name in CLASSES if name not in NOT_OURS])
def test_cpythons_own_tests_of_zipfile_pass(name: str, shelf: Shelf) -> None:
    suite = unittest.TestSuite(
        case
        for case in unittest.defaultTestLoader.loadTestsFromTestCase(getattr(TESTS, name))
        if isinstance(case, unittest.TestCase) and case._testMethodName not in NOT_OURS
    )
    result = unittest.TestResult()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as unittest would have it
        suite.run(result)
    assert result.testsRun
    assert not [trace for _, trace in result.failures + result.errors]
    print(f"{result.testsRun} tests, {len(result.skipped)} skipped, {shelf.served} archives read")
