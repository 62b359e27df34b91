"""A container of an OCI image, run without a container runtime. Needs root and buildah.

The processes get what a runtime gives them: the image's user, variables and directory, a read-only root, a
volume, secret files, no capabilities, and processes of their own. They share this machine's network.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regtest.child import end_with_parent

BUILDAH = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
STOP_SECONDS = 60.0


class Image:
    """An image whose files are at `root`. `config` is the part of that name in its OCI configuration."""

    def __init__(self, root: Path, config: Mapping[str, Any]) -> None:
        self.root = root
        self.config = config

    @property
    def user(self) -> str:
        return str(self.config["User"])

    def command(
        self, arguments: list[str], variables: Mapping[str, str], volume: Path, secrets: Path
    ) -> list[str]:
        """Return the command that runs `arguments` in a container.

        `volume` is the directory of the image's volume, and `secrets` becomes /run/secrets.
        """
        (target,) = self.config["Volumes"]
        root = shlex.quote(str(self.root))
        mounts = [
            f"mount --bind {root} {root}",
            f"mount -o remount,bind,ro {root}",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs tmpfs {root}/run && mkdir {root}/run/secrets",
            f"mount --bind {shlex.quote(str(secrets))} {root}/run/secrets",
            f"mount -t tmpfs tmpfs {root}/tmp",
            f"mount --rbind /dev {root}/dev",
            f"mount --bind {shlex.quote(str(volume))} {root}{target}",
        ]
        environ = [*self.config["Env"], *(f"{name}={value}" for name, value in variables.items())]
        inside = shlex.join(["env", "-i", "-C", self.config["WorkingDir"], *environ, *arguments])
        uid, _, gid = self.user.partition(":")
        drop = f"setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs --inh-caps=-all"
        # The first process of the namespace becomes the server, as in a container.
        enter = f"exec chroot {root} {drop} --bounding-set=-all {inside}"
        script = " && ".join([*mounts, enter])
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script]


class Server:
    """A server of the image. It ends with this process."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=end_with_parent()
            )

    def stop(self) -> int:
        """Send SIGTERM as a runtime does, to the first process of the container. Return the exit status."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        os.kill(int(children[0]), 15)
        return self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def mounted(archive: Path) -> Iterator[Image]:
    """Yield the image of an OCI archive, and remove its container and the image afterwards."""

    def buildah(*arguments: str) -> str:
        command = ["buildah", *arguments]
        done = subprocess.run(
            command, env=os.environ | BUILDAH, capture_output=True, text=True, check=True, timeout=600
        )
        return done.stdout.strip()

    container = buildah("from", f"oci-archive:{archive}")
    described = json.loads(buildah("inspect", container))
    try:
        yield Image(Path(buildah("mount", container)), described["OCIv1"]["config"])
    finally:
        buildah("rm", container)
        buildah("rmi", described["FromImageID"])
