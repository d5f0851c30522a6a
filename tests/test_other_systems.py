"""Where there is no POSIX, one line says so: for the library an ImportError, for the command exit 2."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A system without fcntl, as Windows is one.
WITHOUT = "import sys; sys.modules['fcntl'] = None; "


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_library_is_refused_as_an_import() -> None:
    script = "try: import smartremote_cli\nexcept ImportError as error: print(error)"
    run = _run("-c", f"{WITHOUT}exec({script!r})")
    assert (
        run.stdout == f"smartremote needs Linux, macOS or another POSIX system: {sys.platform} has no fcntl\n"
    )
    assert (run.stderr, run.returncode) == ("", 0)


@pytest.mark.parametrize(
    "name", ["smartremote", "/usr/bin/smartremote-cli", "C:\\\\Scripts\\\\smartremote.exe"]
)
def test_the_command_says_it_in_one_line(name: str) -> None:
    run = _run("-c", f"{WITHOUT}sys.argv[0] = '{name}'; from smartremote_cli.__main__ import main; main()")
    assert run.stderr.startswith("smartremote: smartremote needs Linux") and run.stderr.count("\n") == 1
    assert (run.stdout, run.returncode) == ("", 2)
