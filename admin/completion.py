"""`manage.py completion`: what a shell needs to complete Nodetill's commands by the tabulator key."""

import re
import shlex
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

PROGRAM = "manage.py"
VARIABLE = "_MANAGE_PY_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--name", default=PROGRAM, show_default=True, help="What you type to call this program.")
@click.pass_context
def completion(context: click.Context, shell: str, name: str) -> None:
    """Let a shell complete these commands by the tabulator key.

    Prints the script for it. It is for `./manage.py`, from any directory, or for what you call it.

    \b
    manage.py completion bash >> ~/.bashrc
    manage.py completion zsh >> ~/.zshrc
    manage.py completion fish > ~/.config/fish/completions/manage.py.fish
    manage.py completion bash --name nodetill > /etc/bash_completion.d/nodetill

    In bash, eval "$(./manage.py completion bash)" is for the session alone.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise click.BadParameter("must be a command's name, without a path", context, param_hint="--name")
    click.echo(script(context.find_root().command, shell, name))


def script(program: click.Command, shell: str, name: str) -> str:
    """click's own, but that it asks this manage.py by this Python, wherever the shell is.

    click's calls the program by its name, which is on nobody's path.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    text = kind(program, {}, name, VARIABLE).source()
    text = text.replace(f"    (( ! $+commands[{name}] )) && return 1\n", "")  # zsh's look at the path
    before, found, after = text.rpartition("$1)" if shell == "bash" else f"{name})")
    assert found, f"click's script for {shell} does not call the program"
    place = Path(__file__).resolve().parent.parent / PROGRAM
    return f"{before}{shlex.join([sys.executable, str(place)])}){after}"
