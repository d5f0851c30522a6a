"""create_files: begin a download on disk, the part record first and then the data file.

A file system that loses power between two steps must never show a data file that looks complete and is not. So the
record is there before the data file is, and the data file carries the mark of an unfinished download before it gets
its size.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from pyroaring import BitMap

from ..errors import BusyError, LocalError
from ..protocol.identity import Identity
from .data_file import DataFile
from .files import folder_of, is_at, is_marked, local, mark, max_name, replace, sync_folder
from .leftovers import record_path
from .locks import open_locked
from .part import Record, encode
from .sums import Sums


def create_files(
    path: str,
    url: str,
    identity: Identity,
    *,
    sync: bool = True,
    shared: bool = False,
    overwrite: bool = False,
) -> DataFile:
    """Make the record of nothing held, then the data file, and return that: locked, marked, of the resource's size.

    Raises `BusyError` when another process got there first, `LocalError` for a full disk or no permission. Either
    leaves nothing of ours behind. With *overwrite* a file of that name is replaced by a new one, of the same mode:
    its other names keep the old bytes, and so does a process that has it open. A *shared* record is replaced
    without a link, which a crash would leave: the folder's lock is held instead.
    """
    _check_name(path)
    target = os.path.realpath(path) if overwrite else path
    with local(path), contextlib.ExitStack() as stack:
        old = stack.enter_context(_locked_if_there(target)) if overwrite else None
        old_stands = old is not None
        empty = encode(Record(BitMap(), identity, url))
        mine = not os.path.lexists(record_path(path))
        replace(record_path(path), empty, sync=sync and not shared, new=not (overwrite or shared))
        try:
            if old is not None:
                os.unlink(target)
                old_stands = False
            descriptor = open_locked(target, os.O_CREAT | os.O_EXCL, shared=shared)
        except BaseException as error:
            # The record is ours, unless another process has found it and begun the data file. A file that could
            # not be replaced must not have one beside it.
            if mine and (old_stands if overwrite else not is_marked(path)):
                with contextlib.suppress(OSError):
                    os.unlink(record_path(path))
            if isinstance(error, FileExistsError):
                raise BusyError(path, "another process has just begun this file") from error
            raise
    file = DataFile(descriptor, path)
    try:
        _prepare(
            file, path, identity, None if old is None else stat.S_IMODE(old.st_mode), sync and not shared
        )
    except BaseException:
        remove_files(file, path, sync=sync)
        file.close()
        raise
    return file


def remove_files(file: DataFile, path: str, *, sync: bool, with_record: bool = True) -> None:
    """Remove the data file, as far as *path* still names it, and then its record. A failure leaves the rest."""
    with contextlib.suppress(OSError):
        if is_at(file.descriptor, path):
            os.unlink(os.path.realpath(path))
            sync_folder(folder_of(path), sync)
        if with_record:
            Sums(path).remove()
            os.unlink(record_path(path))


def _prepare(file: DataFile, path: str, identity: Identity, mode: int | None, sync_names: bool) -> None:
    with file.using() as descriptor:
        Sums(path).remove()
        if mode is not None:
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, mode)
        mark(descriptor)
        if identity.size is not None:
            file.resize(identity.size)
        sync_folder(folder_of(path), sync_names)


@contextlib.contextmanager
def _locked_if_there(path: str) -> Iterator[os.stat_result | None]:
    """Lock the file that is to be replaced, and yield its stat result; None when there is none."""
    try:
        descriptor = open_locked(path, 0)
    except FileNotFoundError:
        yield None
        return
    try:
        yield os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _check_name(path: str) -> None:
    most = max_name(folder_of(path))
    if len(os.fsencode(os.path.basename(record_path(path)))) > most:
        why = f"the name is too long for a part record beside it ({most - len('.part')} bytes)"
        raise LocalError(path, why)
