"""smartremote: any URL as a local random-access file.

    import smartremote_cli as smartremote

    with smartremote.open(url) as f:
        names = zipfile.ZipFile(f).namelist()

The folders, from the bottom up; each imports only from those before it:

- errors, events, threads: what all of them share;
- core, protocol, plan, archives: values in, values out, no I/O;
- store and transport: the disk and the network, which do not know each other;
- transfer: threads that fill one local copy from one resource;
- library: `open`, `DownloadManager`, the fsspec file system;
- cli: the command line.

Each folder's docstring says what is in it. Names are imported when they are first used.
"""

from __future__ import annotations

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
