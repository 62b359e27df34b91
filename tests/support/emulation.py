"""Runs programs for 64-bit ARM on another machine, by qemu and Linux's binfmt_misc. Needs root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ARM64 = "arm64"
"""Debian's name of the architecture. The kernel's name is aarch64."""

ARCHITECTURE = os.environ.get("DEB_ARCH") or (ARM64 if os.uname().machine == "aarch64" else "amd64")
"""The architecture of the package and of the image under test: this machine's, or the variable's."""

FOREIGN = None if (ARCHITECTURE == ARM64) == (os.uname().machine == "aarch64") else ARCHITECTURE
"""The same if it is not this machine's."""

_REGISTRY = Path("/proc/sys/fs/binfmt_misc")
_NAME = "nodetill-aarch64"
# The beginning of an ELF file for little-endian aarch64, and the bits of it that count.
# (https://docs.kernel.org/admin-guide/binfmt-misc.html, and qemu's scripts/qemu-binfmt-conf.sh)
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# F opens qemu now, so that it runs in any root directory. P passes argv[0] unchanged.
_FLAGS = "FP"


@contextmanager
def emulated(architecture: str) -> Iterator[None]:
    """Let this machine start programs for 64-bit ARM, if this is the architecture.

    The kernel starts qemu for each of them.
    """
    if architecture != ARM64 or os.uname().machine == "aarch64":
        yield
        return
    assert os.geteuid() == 0, "only root can register an emulator"
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    assert qemu is not None, "apt install qemu-user-static"
    if not (_REGISTRY / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_REGISTRY)], check=True)
    _unregister()
    # The kernel tries the newest entry first, so a system's own entry changes nothing.
    (_REGISTRY / "register").write_text(f":{_NAME}:M::{_MAGIC}:{_MASK}:{qemu}:{_FLAGS}")
    try:
        yield
    finally:
        _unregister()


def _unregister() -> None:
    if (_REGISTRY / _NAME).exists():
        (_REGISTRY / _NAME).write_text("-1")
