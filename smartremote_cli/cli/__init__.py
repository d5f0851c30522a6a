"""The command line: a short file a command, and here the one place where errors become lines and exit codes.

It may import everything else. The group imports a command when it is used, and the command imports the engine inside
itself: `--help`, `status` and the completion of a word never load the engine. Modules that only errors need are
imported where the error is handled.

- get, cat, zip_ls, status, complete, adopt, completion: the commands.
- options: the options that commands share. wiring: the objects that they describe (transport, policy, cache, display,
  the options of a download, a reader).
- listing: the forms in which zip-ls prints entries. output: standard output. progress: what stderr shows meanwhile.
- signals: Ctrl-C and its relatives. completion_scripts: the scripts of the shells.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys

import click
from click.shell_completion import CompletionItem

from .. import __version__
from ..core.text import printable
from ..errors import SmartRemoteError, bug
from .output import PipeClosed, make_whole
from .signals import Interrupted, catch_signals

COMMANDS = {
    "get": "Download a file, resuming where an earlier run ended.",
    "cat": "Print a range of bytes of a remote file.",
    "zip-ls": "List the files in a remote zip.",
    "status": "Show what has arrived and what is missing.",
    "complete": "Fetch what is missing of a partial file.",
    "adopt": "Go on with what another program has left unfinished.",
    "completion": "Print the completion script of a shell.",
}
PIPE_CLOSED = 141  # the exit code of a process that SIGPIPE ended


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in COMMANDS:
            from difflib import get_close_matches

            if alike := get_close_matches(word, COMMANDS, n=1):
                ctx.fail(f"no command {word!r}: did you mean {alike[0]!r}?")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete the name of a command from the table, without importing a command."""
        found = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "SMARTREMOTE"},
)
@click.version_option(__version__, prog_name="smartremote")
def app() -> None:
    """Treat any URL as a local file: fetch only what you ask for, and only once."""


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    _fill_in_standard_streams()
    _print_what_the_locale_cannot()
    make_whole()
    code = run(sys.argv[1:])
    if code < 128:  # after a signal do not flush: a full pipe would hold up the exit
        for stream, failed in (sys.stdout, 6), (sys.stderr, 0):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                code = code or failed
    os._exit(code)  # do not wait for threads that are still waiting for the network


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
        say(f"{what}: {_without_secrets(error.format_message())}", f"see: {command} --help")
        return 2
    except PipeClosed:
        return PIPE_CLOSED
    except SystemExit as leave:
        # Click raises it: 0 after completing a word, 1 when the pipe behind a help page closed.
        return PIPE_CLOSED if leave.code else 0
    except SmartRemoteError as error:
        if verbose and error.exit_code == 1:
            _show_traceback(error)
        tell(error)
        return error.exit_code
    except OSError as error:
        # From a stream to which Click writes its own pages, or from the machine.
        if verbose:
            _show_traceback(error)
        say(f"a problem on this machine: {error.strerror or error}")
        return 6
    except Exception as error:
        if verbose:
            _show_traceback(error)
        failure = bug(error)
        known = failure.exit_code != 1
        say(str(failure), None if known else "run it again with -v and report the output")
        return failure.exit_code


def tell(error: SmartRemoteError) -> None:
    """Print *error* as a line on stderr, and its hint as another."""
    say(str(error), error.hint)


def say(line: str, hint: str | None = None) -> None:
    """Print a line and a hint on stderr; ignore a stderr that is closed or broken."""
    text = f"smartremote: {printable(line)}\n" + (f"  {printable(hint)}\n" if hint else "")
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass


def _show_traceback(error: BaseException) -> None:
    import traceback

    text = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write("\n".join(map(printable, text.split("\n"))))


def _fill_in_standard_streams() -> None:
    """Open standard streams that the caller closed (`2>&-`): else a data file would get the number of one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def _print_what_the_locale_cannot() -> None:
    """Have standard output show characters that its encoding does not know as escapes, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _without_secrets(text: str) -> str:
    """Return *text* on one line, without the secrets in its URLs."""
    import re

    from ..core.urls import redact

    return re.sub(r"https?://[^\s'\")]+", lambda found: redact(found[0]), " ".join(text.split()))
