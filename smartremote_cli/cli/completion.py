"""`smartremote completion`: print the script that completes words in a shell."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from .completion_scripts import SCRIPTS, UNFINISHED
from .output import write_line


@click.command()
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: source <(smartremote completion bash)
    zsh:  source <(smartremote completion zsh)     after compinit
    fish: smartremote completion fish | source
    """
    write_line(SCRIPTS[shell].removesuffix("\n"))


def unfinished_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete a word with unfinished files: the `shell_complete` of arguments that name one.

    Return only the kind of answer; the shell's script looks for the files.
    """
    return [CompletionItem(incomplete, type=UNFINISHED)]
