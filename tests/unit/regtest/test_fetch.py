"""Packages from Debian's archive must be signed by Debian, whatever the machine's own apt allows."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from regtest import fetch
from regtest.fetch import SUITE, FetchError, fetched_command, progress, total_bytes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="this is not Debian")

CONTROL = """\
Package: bitcoin-knots
Version: 99
Architecture: {architecture}
Maintainer: a thief <thief@example.com>
Description: a bitcoind that nobody has signed
"""
LAX = """\
Dir::Etc::sourcelist "{sources}";
Dir::Etc::sourceparts "-";
APT::Get::AllowUnauthenticated "true";
Acquire::AllowInsecureRepositories "true";
Acquire::AllowWeakRepositories "true";
Acquire::AllowDowngradeToInsecureRepositories "true";
Acquire::Check-Valid-Until "false";
"""


def build_package(directory: Path, architecture: str) -> Path:
    """Build a package that has a program named bitcoind, and a loader to run it."""
    tree = directory / "tree"
    for name in ("usr/bin/bitcoind", "usr/lib/ld-linux-thief.so.2"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("#!/bin/sh\n")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(CONTROL.format(architecture=architecture))
    package = directory / "bitcoin-knots.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", tree, package], check=True, capture_output=True
    )
    return package


def build_repository(directory: Path) -> Path:
    """Build an archive that has only this package, and lacks only a signature."""
    command = ["dpkg", "--print-architecture"]
    architecture = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    archive = directory / "debian"
    index = archive / "dists" / SUITE / "main" / f"binary-{architecture}" / "Packages"
    index.parent.mkdir(parents=True)
    package = build_package(directory, architecture)
    content = package.read_bytes()
    package.rename(archive / package.name)
    index.write_text(
        CONTROL.format(architecture=architecture)
        + f"Filename: {package.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    )
    listed = index.read_bytes()
    name = index.relative_to(archive / "dists" / SUITE)
    (archive / "dists" / SUITE / "Release").write_text(
        f"Suite: {SUITE}\nCodename: {SUITE}\nArchitectures: {architecture}\nComponents: main\n"
        "Date: Sat, 28 Nov 2026 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} {name}\n"
    )
    return archive


@pytest.fixture
def permissive_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configure an apt that accepts unsigned packages, and whose only source is such an archive."""
    archive = build_repository(tmp_path)
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [trusted=yes] file:{archive} {SUITE} main\n")
    config = tmp_path / "apt.conf"
    config.write_text(LAX.format(sources=sources))
    monkeypatch.setenv("APT_CONFIG", str(config))
    return archive


def test_the_machine_s_own_apt_accepts_the_unsigned_archive(permissive_apt: Path, tmp_path: Path) -> None:
    """The archive lacks only its signature, or the next test would prove nothing."""
    for name in ("lists/partial", "cache/archives/partial"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    (tmp_path / "apt" / "status").touch()
    places = {
        "Dir::State::Lists": "lists",
        "Dir::State::status": "status",
        "Dir::Cache": "cache",
    }
    options = [f"-o{name}={tmp_path / 'apt' / place}" for name, place in places.items()]
    options += ["-oAPT::Sandbox::User=root", "-oDebug::NoLocking=1", "-oAcquire::Languages=none"]
    for command in (["update"], ["install", "-y", "--download-only", "bitcoin-knots"]):
        done = subprocess.run(["apt-get", *options, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_an_unsigned_package_is_refused(permissive_apt: Path, tmp_path: Path) -> None:
    """No file of it is unpacked, because Nodetill would run it as bitcoind."""
    cache = tmp_path / "cache"
    reported: list[str] = []
    with pytest.raises(FetchError, match=r"apt-get failed: .*not signed"):
        fetched_command("bitcoin-knots", cache, "bitcoind", reported.append)
    assert not (cache / "root").exists()
    source = f"file:{permissive_apt}"
    assert reported == [f"Fetching bitcoin-knots: reading Debian's list of packages from {source}"]


def test_a_download_reports_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are counted while they come, because apt prints nothing that a program may read."""
    monkeypatch.setattr(fetch, "REPORT_SECONDS", 0.001)
    (tmp_path / "partial").mkdir()
    reported: list[str] = []
    with progress(tmp_path, 30_000_000, reported.append):
        wait_until(lambda: "0 of 30 MB" in reported)
        (tmp_path / "partial" / "one.deb").write_bytes(bytes(2_000_000))
        (tmp_path / "two.deb").write_bytes(bytes(5_000_000))
        wait_until(lambda: "7 of 30 MB" in reported)


def test_the_size_of_a_download_is_the_sum_of_its_files() -> None:
    """The lines are those of apt-get install --print-uris; others are between them."""
    uris = (
        "Reading package lists...\n"
        "'http://deb.debian.org/pool/libc6_2.42-5_amd64.deb' libc6_2.42-5_amd64.deb 1834608 SHA256:a1b2\n"
        "'http://deb.debian.org/pool/libzmq5_4.3.5_amd64.deb' libzmq5_4.3.5_amd64.deb 1000 SHA256:c3d4\n"
    )
    assert total_bytes(uris) == 1_835_608
