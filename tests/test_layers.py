"""The order of the modules: each imports only from what stands before it here, also inside functions.

`__init__` and `__main__` hold the public names and come last; any module may ask for `__version__`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smartremote_cli

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
ONLY = {
    "httpx": {"transport", "library"},
    "httpcore": {"transport"},
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


def test_httpx_is_loaded_without_what_nobody_looks_into() -> None:
    unused = "httpx._main", "rich", "pygments", "anyio", "certifi", "idna", "socksio"
    code = (
        f"import sys, smartremote_cli.transport; print(*sorted(set({unused!r}) & set(sys.modules)))\n"
        "import httpcore, httpx; httpcore.default_ssl_context()\n"  # which asks certifi
        "assert httpx.URL('http://xn--bcher-kva.de').host == 'bücher.de'\n"
        "import certifi; assert certifi.__spec__"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert loaded.stdout.split() == []
