"""Download: a whole resource into one file, resumed, compared, checked, and only then called complete.

A view of `Session`: what it adds is the file's name, and what a person may do next.
"""

from __future__ import annotations

import os
import shlex
import stat

from ..errors import LocalError, RemoteChangedError, RemoteNotFoundError, RemotePermissionError
from ..events import Checked, Listener, ignore
from ..store.cache import Cache
from ..store.existing_file import ExistingFile
from ..store.file_destination import FileDestination
from ..store.files import folder_of
from ..store.leftovers import inspect, record_path
from ..transfer.transfer import Transfer
from ..transport.limiter import Limiter
from ..transport.remote import Remote
from .options import DownloadOptions
from .session import Session


class Download:
    """One resource on its way into one file. `run` does it all; `stop` may be called from anywhere."""

    def __init__(
        self,
        remote: Remote,
        path: str | None,
        options: DownloadOptions | None = None,
        *,
        cache: Cache | None = None,
        listener: Listener = ignore,
        limiter: Limiter | None = None,
        other_url: bool = False,
    ) -> None:
        """Look at *path* as `FileDestination` does, and raise what it raises."""
        options = options or DownloadOptions()
        destination = FileDestination(
            remote.url,
            remote.name,
            path,
            cache=None if cache is None else cache.for_variant(remote.variant),
            listener=listener,
            overwrite=options.overwrite,
            sync=options.sync,
            other_url=other_url,
        )
        if limiter is not None:
            options = options._replace(limiter=limiter)
        self.remote = remote
        self._listener = listener
        self._session = Session(remote, destination, options, listener)

    @property
    def transfer(self) -> Transfer | None:
        """The latest transfer, for a display."""
        return self._session.last_transfer

    def run(self) -> str:
        """Bring the file to completion and return its path. Raises what stops it; progress is then kept."""
        destination = self._session.destination
        try:
            self._session.complete()
        except (RemotePermissionError, RemoteNotFoundError) as error:
            copy = destination.copy
            if copy is not None and copy.is_durable and error.hint is None:  # a signature may have expired
                error.hint = f"run: smartremote complete {shlex.quote(destination.path or '')} --url NEW"
            raise
        except RemoteChangedError as error:
            error.hint = error.hint or self._after_change()
            raise
        assert destination.path is not None  # the first answer named it
        self._tell_how_checked()
        return destination.path

    def _after_change(self) -> str:
        """Say what to do about another version: first what loses nothing."""
        return "the new version under another name: -o NEW; --on-change restart drops what is held"

    def _tell_how_checked(self) -> None:
        """Say by what the file is taken for the resource. A sample is never called proof."""
        copy, expected = self._session.destination.copy, self._session.expected()
        if expected:
            self._listener(Checked("digest", f"{expected[0].algorithm} as expected"))
        elif isinstance(copy, ExistingFile) and copy.places:
            places = "1 place" if copy.places == 1 else f"{copy.places} places"
            self._listener(Checked("samples", f"{places} compared"))

    def stop(self) -> None:
        """End the transfer with a last checkpoint, and close the file."""
        self._session.close()


def check_output(path: str) -> None:
    """Raise `LocalError` when *path* cannot be a data file: a folder, a device, a folder that does not exist."""
    folder = folder_of(path)
    try:
        is_folder = stat.S_ISDIR(os.stat(folder).st_mode)
    except OSError as error:
        raise LocalError.of(folder, error) from error
    if not is_folder:
        raise LocalError(folder, "is not a folder")
    inspect(path)
    if os.path.islink(record_path(path)):
        raise LocalError(record_path(path), "is a symbolic link, which a record may not be")
