"""Programs from Debian's archive: without root, and without a change to the system."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

SUITE = "sid"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


SIGNED_ALONE = {
    "APT::Get::AllowUnauthenticated": "false",
    "APT::Get::Force-Yes": "false",
    "Acquire::AllowInsecureRepositories": "false",
    "Acquire::AllowWeakRepositories": "false",
    "Acquire::AllowDowngradeToInsecureRepositories": "false",
}
"""apt's own defaults, in force whatever this machine's apt.conf allows. What is fetched here is run.

A machine that works with an old snapshot of the archive keeps its own word on how old is too old.
"""


class FetchError(RuntimeError):
    """Debian's archive can't be used here; the message has the reason."""


def fetch_bitcoind(cache: Path) -> list[str]:
    """The command that runs `cache`'s bitcoind, fetched first if it isn't there. Raises FetchError."""
    return fetched_command("bitcoin-knots", cache, "bitcoind")


def fetched_command(package: str, cache: Path, program: str) -> list[str]:
    """The command that runs `package`'s program, a pattern of usr/bin or usr/sbin; `cache` is for it alone.

    Fetched first if it isn't there: that takes some 5 seconds. Safe to call from several processes at once.
    It runs with the C library that came with it; the system's may be older. Raises FetchError.
    """
    root = _fetched(package, cache)
    loaders = [*root.glob("usr/lib/*/ld-linux-*.so.*"), *root.glob("usr/lib/ld-linux-*.so.*")]
    programs = sorted(root.glob(f"usr/*bin/{program}"))
    if not loaders or not programs:
        raise FetchError(f"no loader, or no {program}, under {root}")
    places = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("usr/lib/*-linux-gnu*/systemd")]
    libraries = os.pathsep.join(map(str, places))
    return [str(loaders[0]), "--library-path", libraries, str(programs[0])]


def _fetched(package: str, cache: Path) -> Path:
    root = cache / "root"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _unpack(_download(package, Path(scratch)), Path(scratch) / "root")
                # Last, so that a root is always a whole one.
                (Path(scratch) / "root").rename(root)
    return root


def _download(package: str, scratch: Path) -> list[Path]:
    if not (shutil.which("apt-get") and shutil.which("dpkg") and KEYRING.exists()):
        raise FetchError("this is not Debian: apt-get, dpkg or Debian's keyring is missing")
    reasons = []
    for mirror in _mirrors():
        try:
            return _download_from(mirror, package, scratch)
        except FetchError as error:
            reasons.append(str(error))
    raise FetchError("; ".join(reasons) or "the machine's apt sources name no mirror of Debian")


def _mirrors() -> Iterable[str]:
    """Addresses that the machine's own sources have and that may be Debian's archive, in their order."""
    # Prints what an update would fetch: needs neither the network nor lists that are there already.
    uris = _run(["apt-get", "update", "--print-uris"])
    found = re.findall(r"'(\S+?)/dists/\S+/InRelease'", uris)
    return dict.fromkeys(uri for uri in found if "debian" in uri and not uri.endswith("-security"))


def _download_from(mirror: str, package: str, scratch: Path) -> list[Path]:
    """The package and all that it depends on, as .deb files."""
    options = _private_apt(mirror, scratch)
    _run(["apt-get", *options, "update"])
    # Nothing counts as installed, so apt brings every library, the C library too, whatever the system has.
    _run(["apt-get", *options, "install", "-y", "--no-install-recommends", "--download-only", package])
    return sorted((scratch / "cache/archives").glob("*.deb"))


def _private_apt(mirror: str, scratch: Path) -> Sequence[str]:
    """Return options that keep apt to `scratch`, to `mirror` and to what Debian's own key has signed."""
    for directory in ("lists/partial", "cache/archives/partial"):
        (scratch / directory).mkdir(parents=True, exist_ok=True)
    (scratch / "status").write_text("")
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n")
    settings = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "-",
        "APT::Default-Release": SUITE,
        **SIGNED_ALONE,
        # Root would hand the download to a user who can't enter `scratch`.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
    }
    return [f"-o{name}={value}" for name, value in settings.items()]


def _unpack(packages: Iterable[Path], root: Path) -> None:
    for package in packages:
        _run(["dpkg", "-x", str(package), str(root)])
    # Only programs, libraries and units are of use here; manuals and locales aren't.
    for unused in ("etc", "var", "usr/share"):
        shutil.rmtree(root / unused, ignore_errors=True)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        output = getattr(error, "stderr", "") or str(error)
        raise FetchError(f"{command[0]} failed: {str(output).strip().splitlines()[-1]}") from error
    return done.stdout
