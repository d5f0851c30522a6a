"""The command line: one short file a command, and here the one place where errors become lines and exit codes.

Commands are imported when they are used, and import the engine inside themselves, so that `--help`, `status`
and the completion of a word never pay for httpx.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from .. import __version__
from ..errors import SmartRemoteError
from ..text import printable
from .signals import Interrupted, catch_signals

COMMANDS = {
    "get": "Download the whole resource into a file, resuming where an earlier run ended.",
    "cat": "Write a range of the resource to standard output.",
    "zip-ls": "List a remote zip archive from its directory alone.",
    "status": "Say which bytes of a download are here and which are missing.",
    "complete": "Fill what is missing of a partial file.",
    "completion": "Print the completion script of a shell.",
}
PIPE_CLOSED = 141  # as if SIGPIPE had ended us


class Commands(click.Group):
    """The group of commands, each in a module of its name, imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f".{name}", __name__), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "SMARTREMOTE"},
)
@click.version_option(__version__, prog_name="smartremote")
def app() -> None:
    """Treat any URL as a local random-access file: fetch only what is read, and never twice."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or PIPE_CLOSED if stream is sys.stdout else code
    os._exit(code)  # threads that still wait for the network have nothing left to do


def run(arguments: list[str]) -> int:
    """Run the command that *arguments* name and return its exit code. Errors are printed, one line each."""
    verbose = "-v" in arguments or "--verbose" in arguments
    try:
        with catch_signals():
            code = app.main(arguments, prog_name="smartremote", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except Interrupted as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        command = (
            error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "smartremote"
        )
        what = command.removeprefix("smartremote").strip() or "usage"
        say(f"{what}: {' '.join(error.format_message().split())}", f"see: {command} --help")
        return 2
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except SmartRemoteError as error:
        if verbose and error.exit_code == 1:
            traceback.print_exception(error)
        tell(error)
        return error.exit_code
    except Exception as error:
        if verbose:
            traceback.print_exc()
        say(
            f"a defect of smartremote: {type(error).__name__}: {error}",
            "run it again with -v and report what it says",
        )
        return 1


def tell(error: SmartRemoteError) -> None:
    """Print *error* as a line on stderr, and its hint as another."""
    say(str(error), error.hint)


def say(line: str, hint: str | None = None) -> None:
    """Print a line of ours on stderr; a closed stderr is no reason to fail."""
    text = f"smartremote: {printable(line)}\n" + (f"  {printable(hint)}\n" if hint else "")
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit has nothing to complain about."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):
        pass
