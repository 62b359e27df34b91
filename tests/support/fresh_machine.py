"""`make test` in a fresh, minimal Debian that has Python, venv, make and git alone: `make fresh-test`.

Needs root, debootstrap, the network, 5 GB and half an hour.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from regtest.child import end_with_parent
from tests.support.debian_root import SUITE, Shell, commit_sources, debian_shell

PACKAGES = "python3 python3-venv make git"
SOURCES = "srv/nodetill"


def main() -> None:
    """Run the tests in a new Debian, and print what they print."""
    parser = argparse.ArgumentParser(prog="make fresh-test FRESH_ARGS=...")
    parser.add_argument("--suite", default=SUITE, help="such as sid (default: %(default)s)")
    parser.add_argument("--root", action="store_true", help="run the tests as root (default: as a user)")
    parser.add_argument("variables", nargs="*", help="for make, such as TEST_ARGS=tests/unit")
    options = parser.parse_args()
    user = "root" if options.root else "tester"
    with debian_shell(options.suite, is_minimal=True) as shell, followed(shell.root / "run/step.out"):
        prepare(shell, user)
        variables = " ".join(f"'{variable}'" for variable in options.variables)
        try:
            shell.run(f"{as_user(user)} make -C /{SOURCES} test {variables}")
        except AssertionError:
            sys.exit("nodetill: the tests have failed on the fresh Debian")


def prepare(shell: Shell, user: str, packages: str = PACKAGES) -> None:
    """Install these packages of Debian, and put the sources into the user's hands."""
    shell.run(f"apt-get -q update && apt-get -qy install --no-install-recommends {packages}")
    # systemd makes this directory as it boots.
    shell.run("mkdir -p /run/systemd")
    if user != "root":
        shell.run(f"useradd --create-home {user}")
    commit_sources(shell.root / SOURCES)
    shell.run(f"chown -R {user}: /{SOURCES}")


def as_user(user: str) -> str:
    """Return the beginning of a command that runs as this user."""
    ids = f"--reuid {user} --regid {user} --init-groups"
    return f"setpriv {ids} env USER={user} HOME=$(getent passwd {user} | cut -d: -f6)"


@contextmanager
def followed(path: Path) -> Iterator[None]:
    """Print the file as it grows."""
    command = ["tail", "-q", "-n", "+1", "-F", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent()) as tail:
        try:
            yield
        finally:
            tail.terminate()


if __name__ == "__main__":
    main()
