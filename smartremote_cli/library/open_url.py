"""open: one URL as a file, with a manager of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ..transport.options import Options
from .manager import DownloadManager
from .remote_file import RemoteFile


def open(
    url: str,
    checksum: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    user: tuple[str, str] | str | None = None,
    timeout: float = 30.0,
    cache: str | os.PathLike[str] | None = None,
    idle_download: bool = False,
    **manager_options: Any,
) -> RemoteFile:
    """Return *url* as a file, with a manager of its own that closes with the file.

    The server is asked at once: `FileNotFoundError`, `PermissionError` and other `OSError`s of `errors` are raised
    here, and not in whatever reads the file. *checksum* is as for `DownloadManager.open`. *headers* and *user*, a
    pair or ``name:password``, go to the first origin only; *timeout* is in seconds. Blocks are kept in the folder
    *cache*, by default the per-user cache folder, and used again. *manager_options* are `DownloadManager`'s. Several
    files are better opened with one `DownloadManager`, which shares connections among them.
    """
    if "options" not in manager_options:
        name, _, password = user.partition(":") if isinstance(user, str) else ("", "", "")
        pair = (name, password) if isinstance(user, str) else user
        sent = tuple((headers or {}).items())
        manager_options["options"] = Options(headers=sent, user=pair, timeout=timeout)
    elif headers is not None or user is not None:
        raise ValueError("headers and user are part of options: give either")
    with contextlib.ExitStack() as stack:
        manager = DownloadManager(tmp_dir=cache, idle_download=idle_download, **manager_options)
        stack.enter_context(manager)
        file = stack.enter_context(contextlib.closing(manager.open(url, checksum)))
        file.ask()
        file.on_close(manager.close)
        stack.pop_all()
    return file
