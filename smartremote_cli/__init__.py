"""smartremote: any URL as a local random-access file.

    import smartremote_cli as smartremote

    with smartremote.open(url) as f:
        names = zipfile.ZipFile(f).namelist()

The modules, from the bottom up: errors, events, ranges, blocks, headers, identity, answers, zip_directory, part,
planner, resume and verdict take values and return values; ledger, patience and state hold a transfer; storage and
transport do one kind of I/O each; fetch and engine are the threads between them; targets, readahead, idle, session,
open_file, remote_file and manager are the library, and filesystem shows it to fsspec; display and cli are the
command line.
Names are imported when they are first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as typing has it, which takes its time to import: Ctrl-C is not caught yet
if TYPE_CHECKING:
    from . import errors
    from .core.blocks import BlockMap
    from .core.ranges import ByteRange
    from .events import Snapshot
    from .library.manager import DownloadManager, open
    from .library.remote_file import RemoteFile
    from .transport.transport import Options

__all__ = [
    "BlockMap",
    "ByteRange",
    "DownloadManager",
    "Options",
    "RemoteFile",
    "Snapshot",
    "__version__",
    "errors",
    "open",
]

_HOMES = {
    "BlockMap": "core.blocks",
    "ByteRange": "core.ranges",
    "DownloadManager": "library.manager",
    "Options": "transport.transport",
    "RemoteFile": "library.remote_file",
    "Snapshot": "events",
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
