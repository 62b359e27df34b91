"""Fetch programs from Debian's archive, without root and without a change to the system."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

SUITE = "sid"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

MEGABYTE = 1_000_000
REPORT_SECONDS = 2.0

_LIBRARY_DIRECTORIES = ("systemd", "pulseaudio")
"""The private libraries of some packages, beside the libraries that all packages share."""

Report = Callable[[str], None]
"""Shows a line with the progress of a fetch."""

SIGNED_ALONE = {
    "APT::Get::AllowUnauthenticated": "false",
    "APT::Get::Force-Yes": "false",
    "Acquire::AllowInsecureRepositories": "false",
    "Acquire::AllowWeakRepositories": "false",
    "Acquire::AllowDowngradeToInsecureRepositories": "false",
}
"""apt's defaults, which override this machine's apt.conf, because this module's caller runs the programs.

The list does not have the limit on the archive's age, so a machine can use an old snapshot of the archive.
"""


class FetchError(RuntimeError):
    """Debian's archive cannot be used on this machine. The message has the reason."""


def silent(_line: str) -> None:
    """Show nothing."""


def fetch_bitcoind(cache: Path, report: Report = silent) -> list[str]:
    """Return the command that runs `cache`'s bitcoind. Fetch a missing bitcoind. Raise FetchError."""
    return fetched_command("bitcoin-knots", cache, "bitcoind", report)


def fetched_command(package: str, cache: Path, program: str, report: Report = silent) -> list[str]:
    """Return the command that runs a program of a Debian package. Fetch a missing package.

    `program` is a pattern for a name in usr/bin or usr/sbin. See `fetched_root` and `loader_command`.
    """
    root = fetched_root(package, cache, report)
    programs = sorted(root.glob(f"usr/*bin/{program}"))
    if not programs:
        raise FetchError(f"no {program} under {root}")
    return loader_command(root, programs[0])


def loader_command(root: Path, program: Path) -> list[str]:
    """Return the command that runs a program with the libraries under `root`. Raise FetchError.

    The command uses the fetched C library, because the system's own may be older.
    """
    loaders = [*root.glob("usr/lib/*/ld-linux-*.so.*"), *root.glob("usr/lib/ld-linux-*.so.*")]
    if not loaders:
        raise FetchError(f"no loader under {root}")
    patterns = ("usr/lib/*-linux-gnu*", *(f"usr/lib/*-linux-gnu*/{name}" for name in _LIBRARY_DIRECTORIES))
    libraries = os.pathsep.join(str(found) for pattern in patterns for found in root.glob(pattern))
    return [str(loaders[0]), "--library-path", libraries, str(program)]


def fetched_root(packages: str, cache: Path, report: Report = silent) -> Path:
    """Return the directory with Debian packages and all their libraries. Fetch missing packages.

    Spaces separate the names of `packages`. `cache` is a directory for these packages alone. Several
    processes may call this function at once. Raise FetchError.
    """
    root = cache / "root"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                archives = _download(packages, Path(scratch), report)
                report(f"Unpacking {len(archives)} packages")
                _unpack(archives, Path(scratch) / "root")
                # The rename comes last, so a root directory is always complete.
                (Path(scratch) / "root").rename(root)
    return root


def _download(packages: str, scratch: Path, report: Report) -> list[Path]:
    if not (shutil.which("apt-get") and shutil.which("dpkg") and KEYRING.exists()):
        raise FetchError("this is not Debian: apt-get, dpkg or Debian's keyring is missing")
    reasons = []
    for mirror in debian_mirrors():
        try:
            return _download_from(mirror, packages, scratch, report)
        except FetchError as error:
            reasons.append(str(error))
    raise FetchError("; ".join(reasons) or "the machine's apt sources name no mirror of Debian")


def debian_mirrors() -> Iterable[str]:
    """Return the addresses of the machine's apt sources that may be Debian's archive, in their order."""
    # This call prints the addresses of an update, and needs neither the network nor existing lists.
    uris = _run(["apt-get", "update", "--print-uris"])
    found = re.findall(r"'(\S+?)/dists/\S+/InRelease'", uris)
    return dict.fromkeys(uri for uri in found if "debian" in uri and not uri.endswith("-security"))


def _download_from(mirror: str, packages: str, scratch: Path, report: Report) -> list[Path]:
    """Download the packages and all their dependencies, and return the .deb files."""
    options = _private_apt(mirror, scratch)
    report(f"Fetching {packages}: reading Debian's list of packages from {mirror}")
    _run(["apt-get", *options, "update"])
    # No package counts as installed, so apt downloads every library, and the C library too.
    install = ["apt-get", *options, "install", "-y", "--no-install-recommends"]
    total = total_bytes(_run([*install, "--print-uris", *packages.split()]))
    report(f"Downloading {packages} with all libraries: {total / MEGABYTE:.0f} MB")
    archives = scratch / "cache/archives"
    with progress(archives, total, report):
        _run([*install, "--download-only", *packages.split()])
    return sorted(archives.glob("*.deb"))


def total_bytes(uris: str) -> int:
    """Return the sum of the sizes in apt-get's lines of the form 'URI' FILE SIZE HASH."""
    return sum(map(int, re.findall(r"(?m)^'\S+' \S+ (\d+)", uris)))


@contextmanager
def progress(directory: Path, total: int, report: Report) -> Iterator[None]:
    """Report every few seconds how many of `total` bytes are in `directory`."""
    done = Event()

    def watch() -> None:
        while not done.wait(REPORT_SECONDS):
            report(f"{_size(directory) / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB")

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _size(directory: Path) -> int:
    size = 0
    for path in directory.rglob("*"):
        with suppress(OSError):  # apt has renamed the file meanwhile
            size += path.stat().st_size
    return size


def _private_apt(mirror: str, scratch: Path) -> Sequence[str]:
    """Return options that restrict apt to `scratch`, `mirror` and packages signed by Debian's key."""
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
        # For root, apt downloads as another user, who cannot enter `scratch`.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
    }
    return [f"-o{name}={value}" for name, value in settings.items()]


def _unpack(packages: Iterable[Path], root: Path) -> None:
    for package in packages:
        _run(["dpkg", "-x", str(package), str(root)])
    # The demo and the tests need only programs, libraries, units and fonts.
    shared = [path for path in root.glob("usr/share/*") if path.name != "fonts"]
    for unused in (root / "etc", root / "var", *shared):
        shutil.rmtree(unused, ignore_errors=True)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        output = getattr(error, "stderr", "") or str(error)
        raise FetchError(f"{command[0]} failed: {str(output).strip().splitlines()[-1]}") from error
    return done.stdout
