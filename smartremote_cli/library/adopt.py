"""adopt: go on with what another program has left unfinished."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from ..core.ranges import ByteRange
from ..events import Listener, ignore
from ..store.adoption import Adoption
from ..transfer.transfer import Transfer
from ..transport.remote import Remote
from .options import DownloadOptions
from .session import Session


class Adopted(NamedTuple):
    """The file that was made a download of ours, how many of its bytes are believed, and the resource's size."""

    path: str
    held: int
    size: int


def target_of(path: str, new: str | None = None) -> str:
    """Return the name that *path* gets: *new*, or its own; `NAME.part` becomes `NAME`, whose record has that name."""
    return new or (path.removesuffix(".part") if os.path.basename(path) != ".part" else path)


def adopt(
    remote: Remote,
    path: str,
    new: str | None = None,
    options: DownloadOptions | None = None,
    listener: Listener = ignore,
) -> Adopted:
    """Make what another program has left at *path* a download of *remote*, named as `target_of` says.

    Nothing is written before what is here agrees with the server in samples. Raises `ForeignFileError` when it does
    not, or has another size, `DamagedError` for a control file that does not add up, `BusyError` when another program
    is writing the file. The file is left as it was then. A `Download` to the path that is returned goes on with it.
    """
    options = options or DownloadOptions()
    adoption = Adoption(path, target_of(path, new), remote.url, listener, now=time.time())
    session = Session(remote, adoption, options._replace(checksum=None), listener)
    try:
        while not session.attempt(ByteRange(0, 1), _compare):
            pass
        transfer = session.last_transfer
        if transfer is not None:
            transfer.stop()
        blocks = adoption.take_over(sync=options.sync)
        return Adopted(adoption.target, blocks.bytes_held, blocks.size)
    finally:
        session.close()


def _compare(transfer: Transfer) -> bool:
    """Wait until every sample was compared."""
    transfer.open()
    held = next(transfer.copy.blocks.present(), None)
    if held is not None:
        transfer.wait(held)
    return True
