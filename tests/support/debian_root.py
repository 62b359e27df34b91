"""A fresh Debian in a directory, and a root shell in it. Needs root, debootstrap and Debian's archive."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from regtest.child import end_with_parent
from regtest.fetch import debian_mirrors

SUITE = "trixie"
_PROJECT = Path(__file__).parent.parent.parent
CACHE = _PROJECT / ".install"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOCAL_AUTHORITIES = "usr/local/share/ca-certificates"
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_PROXY", "PIP_CERT")
"""The variables with which this machine's apt and pip reach their archives."""

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

# The shell runs this command for each step. A failure of any command of the step fails the step.
STEP = ". /run/step.sh < /dev/null > /run/step.out 2>&1; echo $? > /run/step.rc; echo done\n"


def fresh_debian(
    directory: Path, suite: str = SUITE, *, is_minimal: bool = False, architecture: str | None = None
) -> Path:
    """Return a new Debian in `directory`, with this machine's access to Debian's archive and to PyPI."""
    root = directory / "debian"
    cached = _cached(suite, is_minimal=is_minimal, architecture=architecture)
    subprocess.run(["cp", "-a", "--reflink=auto", str(cached), str(root)], check=True)
    mirror = _mirror()
    # Sid has no updates beside it.
    suites = [suite] if suite == "sid" else [suite, f"{suite}-updates"]
    sources = [f"deb {mirror} {name} main" for name in suites]
    (root / "etc/apt/sources.list").write_text("\n".join([*sources, ""]))
    acquire = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True)
    (root / "etc/apt/apt.conf.d/90host").write_text(acquire.stdout)
    for name in ("etc/resolv.conf", "etc/pip.conf"):
        if Path("/", name).exists():
            (root / name).unlink(missing_ok=True)
            shutil.copy(Path("/", name), root / name)
    if Path("/", LOCAL_AUTHORITIES).is_dir():
        shutil.copytree(Path("/", LOCAL_AUTHORITIES), root / LOCAL_AUTHORITIES, dirs_exist_ok=True)
    # A package must not start its server, because no systemd runs. (invoke-rc.d)
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    return root


class Shell:
    """A root shell in the new Debian. All its processes end with it."""

    def __init__(self, root: Path, variables: Mapping[str, str]) -> None:
        self.root = root
        (root / "run").mkdir(exist_ok=True)
        enter = (
            f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && "
            f"exec chroot {root} /bin/bash --noprofile --norc"
        )
        environ = {"PATH": PATH, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "TERM": "dumb"}
        environ |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environ |= variables
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", enter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environ, "DEBIAN_FRONTEND": "noninteractive"},
            preexec_fn=end_with_parent(),
        )
        self.run("update-ca-certificates")

    def run(self, command: str) -> str:
        """Run a command in the shell, which keeps its variables and directory. Return what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        (self.root / "run/step.sh").write_text(f"{command}\n")
        self._process.stdin.write(STEP)
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", f"the shell ended at: {command}"
        printed = (self.root / "run/step.out").read_text(errors="replace")
        status = int((self.root / "run/step.rc").read_text())
        assert status == 0, f"exit status {status} of: {command}\n{printed[-4000:]}"
        return printed

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def debian_shell(
    suite: str = SUITE,
    *,
    is_minimal: bool = False,
    architecture: str | None = None,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> Iterator[Shell]:
    """Yield a shell in a fresh Debian, and remove both afterwards.

    `architecture` is Debian's name of another architecture, whose programs this machine can start.
    `variables` are further variables of the shell.
    """
    assert os.geteuid() == 0, "only root can enter another Debian"
    assert shutil.which("debootstrap"), "apt install debootstrap"
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-", ignore_cleanup_errors=True) as directory:
        root = fresh_debian(Path(directory), suite, is_minimal=is_minimal, architecture=architecture)
        shell = Shell(root, variables)
        try:
            yield shell
        finally:
            shell.close()


def commit_sources(directory: Path) -> None:
    """Make a repository with one commit that has the files of this working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (_PROJECT / name).is_file() and not (_PROJECT / name).is_symlink():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_PROJECT / name, directory / name)
    author = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "Sources"]):
        subprocess.run(["git", *arguments], cwd=directory, check=True)


def _cached(suite: str, *, is_minimal: bool, architecture: str | None) -> Path:
    """Return the directory with the Debian that each test copies. Make it where it is missing."""
    parts = [suite, "minimal" if is_minimal else None, architecture]
    cached = CACHE / "-".join(part for part in parts if part)
    if not cached.exists():
        scratch = cached.with_suffix(".new")
        shutil.rmtree(scratch, ignore_errors=True)
        options = ["--variant=minbase"] if is_minimal else []
        options += [] if architecture is None else [f"--arch={architecture}"]
        command = ["debootstrap", *options, "--include=ca-certificates", suite, str(scratch), _mirror()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        scratch.rename(cached)
    return cached


def _mirror() -> str:
    mirror = next(iter(debian_mirrors()), None)
    assert mirror is not None, "the machine's apt sources name no mirror of Debian"
    return mirror
