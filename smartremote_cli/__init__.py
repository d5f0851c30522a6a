"""smartremote: any URL as a local random-access file.

    import smartremote_cli as smartremote

    with smartremote.open(url) as f:
        names = zipfile.ZipFile(f).namelist()

Each folder imports only from those above it here, and its `__init__` says what it is for:

    errors, events, threads    the words that everybody uses
    core                       ranges, blocks, sizes, text, urls
    protocol                   what HTTP says, and what of it is believed
    plan                       what to ask for next, and when to give up
    archives                   directories of archives: bytes in, entries out
    store | transport          disk and memory | the network: neither knows the other
    transfer                   one resource being filled into one copy, by threads
    library                    what Python programs use: files, managers, downloads, fsspec
    cli                        the command line

Names are imported when they are first used.
"""

from __future__ import annotations

import sys as _sys

try:
    import fcntl as _fcntl  # noqa: F401  (locks of files, which everything below needs)
except ImportError:
    _why = f"smartremote needs Linux, macOS or another POSIX system: {_sys.platform} has no fcntl"
    _called = _sys.argv[0] if getattr(_sys, "argv", None) else ""
    _name = _called.replace("\\", "/").rpartition("/")[2]
    if _name.startswith("smartremote") or (_called == "-m" and "smartremote_cli" in _sys.orig_argv):
        print(f"smartremote: {_why}", file=_sys.stderr)
        raise SystemExit(2) from None  # the command: a traceback helps nobody
    raise ImportError(_why) from None

__version__ = "0.1.0"

TYPE_CHECKING = False  # as in typing, whose import takes time in which Ctrl-C is not caught yet
if TYPE_CHECKING:
    from . import errors
    from .archives.entry import Archive, Entry
    from .archives.listing import list_archive
    from .core.blocks import BlockMap
    from .core.ranges import ByteRange
    from .events import Snapshot
    from .library.manager import DownloadManager, open
    from .library.remote_file import RemoteFile
    from .transport.transport import Options

__all__ = [
    "Archive",
    "BlockMap",
    "ByteRange",
    "DownloadManager",
    "Entry",
    "Options",
    "RemoteFile",
    "Snapshot",
    "__version__",
    "errors",
    "list_archive",
    "open",
]

_HOMES = {
    "Archive": "archives.entry",
    "BlockMap": "core.blocks",
    "ByteRange": "core.ranges",
    "DownloadManager": "library.manager",
    "Entry": "archives.entry",
    "Options": "transport.transport",
    "RemoteFile": "library.remote_file",
    "Snapshot": "events",
    "list_archive": "archives.listing",
    "open": "library.manager",
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "errors":
        return importlib.import_module(".errors", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
