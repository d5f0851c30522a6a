"""Completion in the real shells: a terminal is opened, a line typed, TAB pressed, and the line read back."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

import smartremote_cli
from smartremote_cli.cli.completion import completion
from smartremote_cli.cli.completion_scripts import SCRIPTS

SOURCE = Path(smartremote_cli.__file__).parent.parent
PATIENCE = 30.0  # for a shell to answer; only a broken test waits that long


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(shell) is None, reason=f"{shell} is not installed: its completion goes UNTESTED"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the program on its PATH and, in `here`, files whose names shells stumble over."""
    home = tmp_path_factory.mktemp("home")
    program = home / "bin" / "smartremote"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(SOURCE)!r})\n"
        "from smartremote_cli.cli import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    shutil.copy(program, program.with_name("smartremote-cli"))
    here = home / "here"
    (here / "Some Folder" / "deeper").mkdir(parents=True)
    for name in (
        "My File.iso",
        "My File.iso.part",
        "12:30 news.mp4",
        "12:30 news.mp4.part",
        "a=b.bin",
        "a=b.bin.part",
        "it's $5, ok.zip",
        "it's $5, ok.zip.part",
        "whole.iso",
        "lonely.iso.part",
        "Some Folder/inner.iso",
        "Some Folder/inner.iso.part",
    ):
        (here / name).touch()
    return here


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SMARTREMOTE", "BASH"))}
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return kept | {
        "PATH": path,
        "HOME": str(folder.parent),
        "ZDOTDIR": str(folder.parent),
        "XDG_CONFIG_HOME": str(folder.parent / "config"),
        "XDG_DATA_HOME": str(folder.parent / "data"),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        **more,
    }


class Terminal:
    """A shell at the other end of a pseudo-terminal."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.heard = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until *pattern* matches what was heard since the last call, and return the match."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.heard, re.DOTALL)) is None:
            if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{pattern!r} did not come; the terminal shows {self.heard!r}")
            self.heard += os.read(self.master, 4096).decode(errors="replace")
        self.heard = self.heard[found.end() :]
        return found


@contextmanager
def terminal(command: list[str], cwd: Path, env: dict[str, str]) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        yield Terminal(master)
    finally:
        shell.kill()
        shell.wait()
        os.close(master)


# Ctrl-X Ctrl-P prints the line being edited between marks, so that a test reads it and not its drawing.
SHOW = "\x18\x10"
BASH_SETUP = r"""
bind 'set bell-style none'; bind 'set completion-query-items 0'; bind 'set page-completions off'
bind 'set enable-bracketed-paste off'; bind 'set horizontal-scroll-mode on'
show() { printf '<<%s>>\n' "$READLINE_LINE"; }; bind -x '"\C-x\C-p": show'
"""
ZSH_SETUP = r"""
autoload -Uz compinit; compinit -D -u
unsetopt beep prompt_cr prompt_sp zle_bracketed_paste 2>/dev/null; setopt no_list_beep; LISTMAX=1000
show() { print -r -- "<<$BUFFER>>" }; zle -N show; bindkey -e; bindkey '^X^P' show; PROMPT='> '
"""

Tab = Callable[..., str]


def press_tab_in(shell: Terminal, line: str, *, cursor_back: int = 0, tabs: int = 1) -> str:
    """Type *line*, press TAB, and return the line that stands there then."""
    shell.type(line + "\x02" * cursor_back)
    for _ in range(tabs):
        shell.type("\t")
    shell.type(SHOW)
    shown = shell.wait_for(r"<<(.*?)>>")[1]
    shell.type("\x05\x15")  # to the end, and away with it
    return shown


@pytest.fixture(scope="module")
def bash(folder: Path) -> Iterator[Tab]:
    with terminal(["bash", "--norc", "--noprofile", "-i"], folder, environment(folder)) as shell:
        shell.type("PS1='> '\n" + BASH_SETUP + "source <(smartremote completion bash); echo rea''dy\n")
        shell.wait_for("ready\r?\n")
        yield lambda line, **keys: press_tab_in(shell, line, **keys)


@pytest.fixture(scope="module")
def zsh(folder: Path) -> Iterator[Tab]:
    with terminal(["zsh", "-f", "-i"], folder, environment(folder)) as shell:
        shell.type(ZSH_SETUP + "source <(smartremote completion zsh); echo rea''dy\n")
        shell.wait_for("ready\r?\n")
        yield lambda line, **keys: press_tab_in(shell, line, **keys)


@pytest.fixture(scope="module")
def fish(folder: Path) -> Callable[[str], list[str]]:
    """What fish offers for a line, without the descriptions."""

    def offered(line: str) -> list[str]:
        script = "smartremote completion fish | source; complete -C $argv[1]"
        answer = subprocess.run(
            ["fish", "--no-config", "-c", script, line],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        assert answer.stderr == ""
        return [row.split("\t")[0] for row in answer.stdout.splitlines()]

    return offered


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_command_prints_the_script_and_nothing_else(shell: str) -> None:
    answer = CliRunner().invoke(completion, [shell])
    assert (answer.exit_code, answer.stdout, answer.stderr) == (0, SCRIPTS[shell], "")


def test_an_unknown_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(completion, ["tcsh"]).exit_code == 2


@pytest.mark.parametrize("words", ["get -", "status x", "", "get --progress "])
def test_completing_a_word_imports_neither_http_nor_the_display(folder: Path, words: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-X", "importtime", folder.parent / "bin" / "smartremote"],
        cwd=folder,
        env=environment(
            folder,
            COMP_WORDS=f"smartremote {words}",
            COMP_CWORD=str(len(words.split(" "))),
            _SMARTREMOTE_COMPLETE="bash_complete",
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {row.rpartition("|")[2].strip() for row in answer.stderr.splitlines()}
    assert "click" in imported
    unwanted = {"httpx", "httpcore", "rich", "smartremote_cli.transfer", "smartremote_cli.transport"}
    assert not imported & unwanted
    assert answer.stdout.strip()


# What must stand in the line after TAB: in bash, and in zsh where it quotes differently.
LINES = [
    ("smartremote sta", "smartremote status ", None),
    ("smartremote completion f", "smartremote completion fish ", None),
    ("smartremote get --outp", "smartremote get --output ", None),
    ("smartremote get --progress pl", "smartremote get --progress plain ", None),
    ("smartremote get --progress=pl", "smartremote get --progress=plain ", None),
    ("smartremote get -o My", r"smartremote get -o My\ File.iso", None),
    ("smartremote get --output=who", "smartremote get --output=whole.iso ", None),
    ("smartremote get --cacert who", "smartremote get --cacert whole.iso ", None),
    ("smartremote get -o Some", r"smartremote get -o Some\ Folder/", None),
    ("smartremote cat --cache-dir So", r"smartremote cat --cache-dir Some\ Folder/", None),
    ("smartremote cat --cache-dir My", "smartremote cat --cache-dir My", None),
    ("smartremote status My", r"smartremote status My\ File.iso ", None),
    (r"smartremote status My\ Fi", r"smartremote status My\ File.iso ", None),
    ('smartremote status "My Fi', 'smartremote status "My File.iso" ', None),
    ("smartremote status ./My", r"smartremote status ./My\ File.iso ", None),
    ("smartremote status ~/here/My", r"smartremote status ~/here/My\ File.iso ", None),
    (
        "smartremote status 12",
        r"smartremote status 12\:30\ news.mp4 ",
        r"smartremote status 12:30\ news.mp4 ",
    ),
    ("smartremote status 12:3", r"smartremote status 12:30\ news.mp4 ", None),
    ("smartremote status 12:", r"smartremote status 12:30\ news.mp4 ", None),
    (
        r"smartremote status 12\:30\ n",
        r"smartremote status 12\:30\ news.mp4 ",
        r"smartremote status 12:30\ news.mp4 ",
    ),
    ("smartremote get -o 12:", r"smartremote get -o 12:30\ news.mp4", None),
    ("smartremote status a=", "smartremote status a=b.bin ", None),
    (
        "smartremote status it",
        r"smartremote status it\'s\ \$5\,\ ok.zip ",
        r"smartremote status it\'s\ \$5,\ ok.zip ",
    ),
    ("smartremote status lon", "smartremote status lonely.iso.part ", None),
    (r"smartremote status My\ File.iso.p", r"smartremote status My\ File.iso.part ", None),
    (
        r"smartremote complete Some\ Folder/i",
        r"smartremote complete Some\ Folder/inner.iso ",
        None,
    ),
    ("smartremote complete whole.iso My", r"smartremote complete whole.iso My\ File.iso ", None),
    ("smartremote get https://host/fi", "smartremote get https://host/fi", None),
    ("smartremote get 'https://host/a b' --outp", "smartremote get 'https://host/a b' --output ", None),
    ("true; smartremote sta", "true; smartremote status ", None),
]


@needs("bash")
@pytest.mark.parametrize(("typed", "completed"), [(typed, in_bash) for typed, in_bash, _ in LINES])
def test_tab_in_bash(bash: Tab, typed: str, completed: str) -> None:
    assert bash(typed) == completed


@needs("zsh")
@pytest.mark.parametrize(
    ("typed", "completed"), [(typed, in_zsh or in_bash) for typed, in_bash, in_zsh in LINES]
)
def test_tab_in_zsh(zsh: Tab, typed: str, completed: str) -> None:
    assert zsh(typed) == completed


@needs("bash")
def test_bash_completes_in_the_middle_of_a_line(bash: Tab) -> None:
    assert bash("smartremote sta whole.iso", cursor_back=len(" whole.iso")) == "smartremote status whole.iso"
    assert bash("smartremote status My -q", cursor_back=len(" -q")) == r"smartremote status My\ File.iso -q"


@needs("zsh")
def test_zsh_completes_in_the_middle_of_a_line(zsh: Tab) -> None:
    assert zsh("smartremote sta whole.iso", cursor_back=len(" whole.iso")) == "smartremote status  whole.iso"
    assert zsh("smartremote status My -q", cursor_back=len(" -q")) == r"smartremote status My\ File.iso  -q"


@needs("bash")
def test_bash_knows_the_program_by_its_other_name_by_path_and_through_an_alias(folder: Path) -> None:
    program = folder.parent / "bin" / "smartremote"
    with terminal(["bash", "--norc", "--noprofile", "-i"], folder, environment(folder)) as shell:
        shell.type("PS1='> '\n" + BASH_SETUP + "source <(smartremote completion bash)\n")
        shell.type("alias fetch=smartremote; complete -F _smartremote fetch; echo rea''dy\n")
        shell.wait_for("ready\r?\n")
        for called in ("smartremote-cli", "~/bin/smartremote", str(program), "fetch"):
            assert press_tab_in(shell, f"{called} status My") == f"{called} status My\\ File.iso "


@needs("zsh")
def test_zsh_finds_the_script_in_its_fpath_and_keeps_it(folder: Path) -> None:
    functions = folder.parent / "site-functions"
    functions.mkdir()
    (functions / "_smartremote").write_text(SCRIPTS["zsh"])
    with terminal(["zsh", "-f", "-i"], folder, environment(folder)) as shell:
        shell.type(f"fpath+=({functions})\n" + ZSH_SETUP + "echo rea''dy\n")
        shell.wait_for("ready\r?\n")
        for _ in range(3):  # the first call loads the file, the others run what it defined
            assert press_tab_in(shell, "smartremote sta") == "smartremote status "


# The first words that fish must offer; where a column is an empty list, it must offer nothing.
FISH_LINES: list[tuple[str, list[str]]] = [
    ("smartremote sta", ["status"]),
    ("smartremote completion ", ["bash", "fish", "zsh"]),
    ("smartremote get --outp", ["--output"]),
    ("smartremote get --progress pl", ["plain"]),
    ("smartremote get --progress=pl", ["--progress=plain"]),
    ("smartremote get -o My", ["My File.iso", "My File.iso.part"]),
    ("smartremote get --output=who", ["--output=whole.iso"]),
    (r"smartremote get -o Some\ Folder/i", ["Some Folder/inner.iso", "Some Folder/inner.iso.part"]),
    ("smartremote cat --cache-dir So", ["Some Folder/"]),
    ("smartremote cat --cache-dir My", []),
    ("smartremote status My", ["My File.iso"]),
    (r"smartremote status My\ Fi", ["My File.iso"]),
    ("smartremote status 'My Fi", ["My File.iso"]),
    ("smartremote status ~/here/My", ["~/here/My File.iso"]),
    ("smartremote status 12:3", ["12:30 news.mp4"]),
    ("smartremote status a=", ["a=b.bin"]),
    ("smartremote status a=b", ["a=b.bin"]),
    ("smartremote status it", ["it's $5, ok.zip"]),
    ("smartremote status lon", ["lonely.iso.part"]),
    (r"smartremote status My\ File.iso.p", ["My File.iso.part"]),
    (r"smartremote complete Some\ Folder/i", ["Some Folder/inner.iso"]),
    ("smartremote complete whole.iso S", ["Some Folder/"]),
    ("smartremote get https://host/fi", []),
    ("smartremote-cli sta", ["status"]),
]


@needs("fish")
@pytest.mark.parametrize(("typed", "offered"), FISH_LINES)
def test_what_fish_offers(fish: Callable[[str], list[str]], typed: str, offered: list[str]) -> None:
    assert fish(typed) == offered
