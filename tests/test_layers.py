"""The order of the modules: each imports only from what stands before it here, also inside functions.

`__init__` and `__main__` hold the public names and come last; any module may ask for `__version__`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smartremote_cli
from tests.support.server import Server

# The folders, from the ground up. Files of one folder may import each other.
ORDER = """
    errors  events  threads
    core  protocol  plan  archives
    store  transport
    transfer
    library
    cli
    __init__  __main__
""".split()
PACKAGES = set(ORDER)

# Values in, values out: no clock, no disk, no network, no threads.
PURE = {"errors", "events", "core", "protocol", "plan", "archives"}

# Who may know these libraries. Everyone else goes through them.
ONLY: dict[str, set[str]] = {
    "httpx": {"transport", "library"},  # the library for a type alone
    "httpcore": set(),
    "ssl": {"transport"},
    "socksio": {"transport"},
    "fsspec": {"library"},
    "rich": {"cli"},
    "click": {"cli"},
    "platformdirs": {"store", "cli"},
    "xxhash": {"store"},
}

# Neither knows the other: the transfer stands between them.
APART = [{"store", "transport"}]

IMPURE = """
    asyncio  concurrent  fcntl  glob  http  io  logging  mmap  multiprocessing  os  pathlib  pty  select
    selectors  shutil  signal  socket  socketserver  ssl  subprocess  sys  tempfile  termios  threading
    time  urllib.request
"""
IMPURE_FUNCTIONS = {"open", "print", "input"}
IMPURE_METHODS = {"now", "utcnow", "today"}  # of dates; `reader.open` asks a value that the caller gave

PACKAGE = Path(smartremote_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def parts_of(file: Path) -> list[str]:
    """Return the dotted name of a file inside the package, in parts: cli/get.py is ['cli', 'get']."""
    parts = list(file.relative_to(PACKAGE).with_suffix("").parts)
    return parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts


def module_of(file: Path) -> str:
    """Return the name under which ORDER knows a file: all of a folder goes by the folder's name."""
    return parts_of(file)[0]


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that *file* imports; relative names are made absolute."""
    package = ["smartremote_cli", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                yield node.lineno, ".".join([*base, alias.name])


def inner_imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and folder, as ORDER has it, of what *file* imports from this package."""
    for line, name in imports_of(file):
        match name.split("."):
            case ["smartremote_cli"]:
                yield line, "__init__"
            case ["smartremote_cli", "__version__"]:
                pass
            case ["smartremote_cli", module, *_]:
                yield line, module if module in ORDER else "__init__"


def title(file: Path) -> str:
    return ".".join(parts_of(file))


def test_nothing_is_imported_before_ctrl_c_is_caught() -> None:
    """What takes its time would be a traceback; `-S` leaves out what Python itself imports at its start."""
    script = (
        "import sys; before = set(sys.modules); import smartremote_cli; print(*set(sys.modules) - before)"
    )
    words = [sys.executable, "-S", "-c", script]
    done = subprocess.run(words, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"smartremote_cli", "__future__"}


@pytest.mark.parametrize("file", FILES, ids=title)
def test_a_module_imports_only_from_its_left(file: Path) -> None:
    module = module_of(file)
    assert module in ORDER, f"{module} has no place in the order yet: give it one at the top of {__file__}"
    left = set(ORDER[: ORDER.index(module)]) | ({module} & PACKAGES)
    against = [
        f"{file.name}:{line} imports {name}" for line, name in inner_imports_of(file) if name not in left
    ]
    against += [
        f"{file.name}:{line} imports {name}"
        for line, name in inner_imports_of(file)
        for pair in APART
        if pair == {module, name}
    ]
    assert not against


@pytest.mark.parametrize("file", FILES, ids=title)
def test_libraries_stay_behind_their_modules(file: Path) -> None:
    against = [
        f"{file.name}:{line} imports {name}"
        for line, name in imports_of(file)
        if module_of(file) not in ONLY.get(name.split(".")[0], {module_of(file)})
    ]
    assert not against


@pytest.mark.parametrize("file", [file for file in FILES if module_of(file) in PURE], ids=title)
def test_the_core_cannot_do_io(file: Path) -> None:
    imported = [
        f"{file.name}:{line} imports {name}"
        for line, name in imports_of(file)
        if any(f"{name}.".startswith(f"{impure}.") for impure in IMPURE.split())
    ]
    called = [
        f"{file.name}:{node.lineno} calls {ast.unparse(node.func)}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (
            getattr(node.func, "id", "") in IMPURE_FUNCTIONS
            or getattr(node.func, "attr", "") in IMPURE_METHODS
        )
    ]
    assert not imported + called


@pytest.mark.parametrize(
    "module",
    [
        "smartremote_cli",
        "smartremote_cli.cli",
        "smartremote_cli.cli.completion",
        "smartremote_cli.store.part",
    ],
)
def test_what_needs_no_network_does_not_load_it(module: str) -> None:
    """Those who use httpx and rich pay for them; --help, status and completion do not."""
    heavy = "httpx", "httpcore", "h11", "ssl", "rich", "smartremote_cli.transport", "smartremote_cli.transfer"
    code = f"import sys, {module}; print(*sorted(set({heavy!r}) & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert loaded.stdout.split() == []


USE = """if True:
    import sys
    import smartremote_cli as smartremote
    from smartremote_cli.cli import run
    with smartremote.DownloadManager(tmp_dir={folder!r}) as manager, manager.open({url!r}) as file:
        assert file.read() == b"content"
    assert run(["get", {url!r}, "-q", "-o", {folder!r} + "/file"]) == 0
    foreign = {{"httpx", "httpcore", "h11", "anyio", "certifi", "idna", "socksio", "ssl", "urllib.request"}}
    assert not foreign & set(sys.modules), foreign & set(sys.modules)
"""
# What every other part of a program finds when it imports httpx.
PLAIN = (
    "import httpx, anyio, certifi; print(httpx.main, httpx.main.__module__, anyio.__spec__, certifi.__spec__)"
)


def test_to_use_it_leaves_other_libraries_as_they_would_be_without_it(tmp_path: Path) -> None:
    """A plain request needs none of them, and nothing is put in their place for those who import them later."""

    def shown(code: str) -> str:
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, cwd=PACKAGE.parent, env=environment)
        assert done.returncode == 0, done.stderr
        return re.sub("0x[0-9a-f]+", "", done.stdout)

    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with Server(b"content") as server:
        use = USE.format(url=server.url(), folder=str(tmp_path))
        assert shown(f"{use}\nimport smartremote_cli.transport.tls\n{PLAIN}") == shown(PLAIN)


def test_httpx_is_loaded_for_a_client_of_the_callers_alone() -> None:
    """Other modules name its types, which costs nothing."""
    importing = [
        file.stem
        for file in FILES
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.Import, ast.Try)) and "httpx" in ast.unparse(node)
    ]
    assert importing == ["httpx_client"]
