"""What the documentation mentions exists: commands, options, exit codes, completions, public names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import smartremote_cli
from smartremote_cli import cli as cli_module
from smartremote_cli import errors
from smartremote_cli.cli.completion_scripts import SCRIPTS

ROOT = Path(smartremote_cli.__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def find_group() -> click.Group:
    """Return the group of all commands, whatever its name is."""
    return next(value for value in vars(cli_module).values() if isinstance(value, click.Group))


GROUP = find_group()
COMMANDS = GROUP.list_commands(click.Context(GROUP))


def command(name: str) -> click.Command:
    found = GROUP.get_command(click.Context(GROUP), name)
    assert found is not None, f"no such command: {name}"
    return found


def calls_in(text: str) -> list[str]:
    """Return the words after `smartremote` in each call in the code blocks of a Markdown text."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    calls = re.findall(r"(?:^|[(|]\s*)smartremote ([^|)\n]*)", "".join(blocks), re.MULTILINE)
    return [call.strip() for call in calls]


CALLS = calls_in(README)


def test_the_readme_shows_every_command() -> None:
    shown = {call.split()[0] for call in CALLS}
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", README, re.MULTILINE))
    assert shown == listed == set(COMMANDS)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_in_the_readme_parses(call: str) -> None:
    name, *words = shlex.split(call.replace("HEX", "0" * 64), comments=True)
    with GROUP.make_context("smartremote", [name, *words]) as outer:
        command(name).make_context(name, words, parent=outer).close()


def test_every_option_in_the_readme_exists() -> None:
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README))
    known = {
        option
        for name in COMMANDS
        for parameter in command(name).params
        for option in [*parameter.opts, *parameter.secondary_opts]
    }
    assert mentioned <= known | {"--help", "--version"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    answer = CliRunner().invoke(GROUP, [name, "--help"])
    assert answer.exit_code == 0
    assert answer.stdout.startswith("Usage: ")
    undocumented = [
        option.opts[0]
        for option in command(name).params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    ]
    assert not undocumented


def test_the_readme_lists_every_exit_code() -> None:
    listed = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")
    }
    raised = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.SmartRemoteError)
    }
    assert raised <= listed
    assert {0, 130, 143, 129} <= listed


@pytest.mark.parametrize("name", smartremote_cli.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(smartremote_cli, name) is not None


def test_the_changelog_has_what_is_coming_or_this_version() -> None:
    assert re.search(
        rf"^## \[(Unreleased|{re.escape(smartremote_cli.__version__)})\]", CHANGELOG, re.MULTILINE
    )


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_shipped_completions_are_those_that_the_command_prints(shell: str) -> None:
    """Mend with: smartremote completion SHELL > completions/smartremote.SHELL"""
    answer = CliRunner().invoke(GROUP, ["completion", shell])
    assert answer.exit_code == 0
    shipped = ROOT / "completions" / f"smartremote.{shell}"
    assert shipped.read_text(encoding="utf-8") == answer.stdout
