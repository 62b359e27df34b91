#!/usr/bin/python3
"""A `systemctl` for a Debian without a running systemd. It starts units by the lines of their files.

It needs nothing but the standard library, because it runs inside the new Debian. Each unit's process gets the
user, group, directory, environment, credentials and umask of its unit, but no sandbox and no watchdog.
"""

import grp
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
RUN = Path("/run/nodetill-test")
REAL = "/usr/bin/systemctl.distrib"
"""systemd's own systemctl, where dpkg has diverted it. It works on files without a running systemd."""
OFFLINE_VERBS = {"is-enabled", "preset", "enable", "disable"}
START_SECONDS = STOP_SECONDS = 90.0


class Unit:
    """A service: the lines of its file and of its edits, by key."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service")
        path = next((p for folder in UNITS if (p := folder / f"{self.name}.service").exists()), None)
        if path is None:
            sys.exit(f"Unit {self.name}.service could not be found.")
        edits = sorted(Path(f"{UNITS[0] / self.name}.service.d").glob("*.conf"))
        self.lines: dict[str, list[str]] = {}
        for line in "\n".join(p.read_text() for p in (path, *edits)).splitlines():
            key, is_set, value = line.partition("=")
            if is_set and not line.startswith("#"):
                self.lines.setdefault(key, []).append(value)
        self.pid_file = RUN / f"{self.name}.pid"
        self.log = RUN / f"{self.name}.log"

    def last(self, key: str, default: str = "") -> str:
        return self.lines.get(key, [default])[-1]

    @property
    def pid(self) -> int:
        """The running process, or 0."""
        pid = int(self.pid_file.read_text()) if self.pid_file.exists() else 0
        return pid if pid and _is_running(pid) else 0

    def start(self) -> None:
        if self.pid:
            return
        user = pwd.getpwnam(self.last("User", "root"))
        group = grp.getgrnam(self.last("Group") or grp.getgrgid(user.pw_gid).gr_name)
        for name in self.lines.get("StateDirectory", []):
            self._make_state_directory(Path("/var/lib") / name, user.pw_uid, group.gr_gid)
        environ = self._environment(user)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications, self.log.open("ab") as log:
            if self.last("Type") == "notify":
                address = RUN / f"{self.name}.notify"
                address.unlink(missing_ok=True)
                notifications.bind(str(address))
                address.chmod(0o777)
                environ["NOTIFY_SOCKET"] = str(address)
            process = subprocess.Popen(
                shlex.split(self.last("ExecStart")),
                cwd=self.last("WorkingDirectory", "/"),
                env=environ,
                user=user.pw_uid,
                group=group.gr_gid,
                extra_groups=os.getgrouplist(user.pw_name, group.gr_gid),
                umask=int(self.last("UMask", "0022"), 8),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self.pid_file.write_text(str(process.pid))
            if "NOTIFY_SOCKET" in environ:
                self._wait_ready(process, notifications)

    def stop(self) -> None:
        pid = self.pid
        if not pid:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid:
            if time.monotonic() > deadline:
                sys.exit(f"{self.name} does not stop")
            time.sleep(0.05)

    def status(self) -> bool:
        state = "active (running)" if self.pid else "inactive (dead)"
        lines = self.log.read_text(errors="replace").splitlines()[-5:] if self.log.exists() else []
        sys.stdout.write("\n".join([f"{self.name}.service: {state}", *lines, ""]))
        return bool(self.pid)

    def _make_state_directory(self, path: Path, uid: int, gid: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, uid, gid)
        path.chmod(int(self.last("StateDirectoryMode", "0755"), 8))

    def _environment(self, user: pwd.struct_passwd) -> dict[str, str]:
        credentials = RUN / "credentials" / self.name
        credentials.mkdir(parents=True, exist_ok=True)
        os.chown(credentials, user.pw_uid, user.pw_gid)
        credentials.chmod(0o500)
        for line in self.lines.get("LoadCredential", []):
            name, _, source = line.partition(":")
            secret = credentials / name
            secret.unlink(missing_ok=True)
            secret.write_bytes(Path(source).read_bytes())
            os.chown(secret, user.pw_uid, user.pw_gid)
            secret.chmod(0o400)
        environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8"}
        environ |= {"HOME": user.pw_dir, "USER": user.pw_name}
        for line in self.lines.get("Environment", []):
            name, _, value = line.replace("%d", str(credentials)).partition("=")
            environ[name] = value
        return environ

    def _wait_ready(self, process: "subprocess.Popen[bytes]", notifications: socket.socket) -> None:
        deadline = time.monotonic() + START_SECONDS
        notifications.settimeout(0.2)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                sys.exit(f"Job for {self.name}.service failed:\n{self.log.read_text()[-2000:]}")
            try:
                if b"READY=1" in notifications.recv(4096):
                    return
            except TimeoutError:
                continue
        sys.exit(f"{self.name} was not ready in time:\n{self.log.read_text()[-2000:]}")


def reload_nginx() -> None:
    """Start nginx, or let it read its files again. Its unit needs more than Unit has."""
    is_running = (
        subprocess.run(["pgrep", "-x", "nginx"], stdout=subprocess.DEVNULL, check=False).returncode == 0
    )
    subprocess.run(["nginx", *(["-s", "reload"] if is_running else [])], check=True)


def _leave_files_to_systemd(arguments: list[str]) -> None:
    """Run systemd's own systemctl instead, where a package needs links of units alone."""
    if os.access(REAL, os.X_OK) and set(arguments) & OFFLINE_VERBS and "--now" not in arguments:
        os.execve(REAL, [REAL, *arguments], os.environ | {"SYSTEMD_OFFLINE": "1"})


def _is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def main(arguments: list[str]) -> int:
    """Do as systemctl does, for the verbs of docs/install.md and of the Debian package."""
    os.umask(0o022)
    (RUN / "credentials").mkdir(mode=0o755, parents=True, exist_ok=True)
    _leave_files_to_systemd(arguments)
    verb, *names = [argument for argument in arguments if not argument.startswith("-")]
    if verb in ("daemon-reload", "daemon-reexec"):
        return 0
    if names == ["nginx"]:
        reload_nginx()
        return 0
    units = [Unit(name) for name in names]
    if verb in ("status", "is-active"):
        are_active = [unit.status() for unit in units]
        return 0 if all(are_active) else 3
    if verb in ("stop", "restart"):
        for unit in units:
            unit.stop()
    if verb in ("start", "restart") or (verb == "enable" and "--now" in arguments):
        for unit in units:
            unit.start()
    elif verb != "stop":
        sys.exit(f"this systemctl has no {verb}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
