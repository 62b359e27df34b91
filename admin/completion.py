"""`manage.py completion`: what a shell needs to complete Nodetill's commands by the tabulator key."""

import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

PROGRAM = "manage.py"
VARIABLE = "_MANAGE_PY_COMPLETE"

# How click's script for each shell calls the program: by its name, which is on nobody's path.
_CALLS = {"bash": "$1)", "zsh": f"{PROGRAM})", "fish": f"{PROGRAM})"}
_ZSH_LOOKS_ON_THE_PATH = f"    (( ! $+commands[{PROGRAM}] )) && return 1\n"


@click.command()
@click.argument("shell", type=click.Choice(list(_CALLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Let a shell complete these commands by the tabulator key.

    Prints the script for it. It is for `./manage.py`, from any directory.

    \b
    manage.py completion bash >> ~/.bashrc
    manage.py completion zsh >> ~/.zshrc
    manage.py completion fish > ~/.config/fish/completions/manage.py.fish

    In bash, eval "$(./manage.py completion bash)" is for the session alone.
    """
    click.echo(script(context.find_root().command, shell))


def script(program: click.Command, shell: str) -> str:
    """click's own, but that it asks this manage.py by this Python, wherever the shell is."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    text = kind(program, {}, PROGRAM, VARIABLE).source().replace(_ZSH_LOOKS_ON_THE_PATH, "")
    place = Path(__file__).resolve().parent.parent / PROGRAM
    call = shlex.join([sys.executable, str(place)])
    before, found, after = text.rpartition(_CALLS[shell])
    assert found, f"click's script for {shell} does not call the program"
    return f"{before}{call}){after}"
