"""`make demo DEMO_ARGS=--once` in a fresh, minimal Debian 13 for 64-bit ARM: `make arm64`.

On another machine qemu emulates the processor. Needs root, debootstrap, qemu-user-static, the network, 2 GB
and half an hour or more. The packages come from the index as on a Raspberry Pi, and no compiler is installed.
"""

import sys

from tests.support.debian_root import debian_shell
from tests.support.emulation import ARM64, emulated
from tests.support.fresh_machine import SOURCES, as_user, followed, prepare
from tests.support.guest_memory import ENVIRONMENT, peak_memory

USER = "tester"
PACKAGES = "python3 python3-venv make"
SERVERS = ("run_daemon.py", "run_web.py")
MIB = 1024**2

# The index may close a connection whose emulated TLS handshake takes too long.
PATIENT = {"PIP_RETRIES": "20", "PIP_DEFAULT_TIMEOUT": "120"}


def main() -> None:
    """Run the demo, print what it prints, and then the memory of both servers."""
    with (
        emulated(ARM64),
        debian_shell(is_minimal=True, architecture=ARM64, variables=ENVIRONMENT | PATIENT) as shell,
        followed(shell.root / "run/step.out"),
        peak_memory(SERVERS) as peaks,
    ):
        prepare(shell, USER, PACKAGES)
        shell.run("uname -m && python3 --version && ! command -v cc gcc")
        try:
            shell.run(f"{as_user(USER)} make -C /{SOURCES} demo DEMO_ARGS=--once")
        except AssertionError:
            sys.exit("nodetill: the demo has failed on 64-bit ARM")
    for name, size_bytes in peaks.items():
        sys.stdout.write(f"{name}: at most {size_bytes / MIB:.0f} MiB\n")


if __name__ == "__main__":
    main()
