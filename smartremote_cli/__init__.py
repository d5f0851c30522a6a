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

import sys as _sys  # which is here already; importing fcntl takes time in which Ctrl-C is not caught yet


def _refuse_other_systems() -> None:
    """Raise ImportError where files cannot be locked; the command says it in one line, without a traceback."""
    try:
        import fcntl  # noqa: F401
    except ImportError:
        why = f"smartremote needs Linux, macOS or another POSIX system: {_sys.platform} has no fcntl"
        called = _sys.argv[0] if getattr(_sys, "argv", None) else ""
        name = called.replace("\\", "/").rpartition("/")[2]
        if name.startswith("smartremote") or (called == "-m" and "smartremote_cli" in _sys.orig_argv):
            print(f"smartremote: {why}", file=_sys.stderr)
            raise SystemExit(2) from None
        raise ImportError(why) from None


if _sys.platform == "win32" or _sys.modules.get("fcntl", _sys) is None:
    _refuse_other_systems()

__version__ = "0.1.0"

TYPE_CHECKING = False  # as in typing, whose import takes time in which Ctrl-C is not caught yet
if TYPE_CHECKING:
    from . import errors
    from .archives.entry import Archive, Entry
    from .archives.listing import list_archive
    from .core.blocks import BlockMap
    from .core.ranges import ByteRange
    from .events import Snapshot
    from .library.manager import DownloadManager
    from .library.open_url import open
    from .library.remote_file import RemoteFile
    from .transport.options import Options

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
    "Options": "transport.options",
    "RemoteFile": "library.remote_file",
    "Snapshot": "events",
    "list_archive": "archives.listing",
    "open": "library.open_url",
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "errors":
        return importlib.import_module(".errors", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _refuse_other_systems()
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
