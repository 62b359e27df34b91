"""The benchmarks run, and write their table. Their figures depend on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from regtest.node import PROJECT

PARTS = {
    "payments": (
        "live payment, 2,000 addresses",
        "live payment beside a poller, 2,000 addresses",
        "webhook of a live payment, 2,000 addresses",
        "daemon's memory after live payments",
    ),
    "blocks": (
        "block of 201 transactions, 1,000 addresses",
        "block of 201 transactions, 6,000 addresses",
        "block of 201 transactions, 6,000 addresses, growth",
        "block of 201 transactions, beside 500 open requests",
        "daemon's memory after these blocks",
        "14 missed blocks of 201 transactions",
    ),
    "web": (
        "status reads of 5 open pages, 2 clients, one core",
        "new requests, 2 clients, one core",
        "web server's memory after these calls",
    ),
    "growth": (
        "daemon's start, 8,000 addresses",
        "web server's start, 8,000 addresses",
        "daemon's memory, 8,000 addresses",
        "web server's memory, 8,000 addresses",
    ),
    "peers": ("foreign transactions, 2,000 addresses",),
}


@pytest.mark.broad
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "part", [part if part == "web" else pytest.param(part, marks=pytest.mark.slow) for part in PARTS]
)
def test_a_quick_run_writes_its_table(tmp_path: Path, bitcoind: list[str], part: str) -> None:
    """Each figure has a line with a verdict. The table has no path of the machine."""
    table = tmp_path / "results.md"
    command = [sys.executable, "-m", "bench", "--quick", "--only", part]
    options = ["--out", str(table), "--directory", str(tmp_path)]
    done = subprocess.run([*command, *options], cwd=PROJECT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    text = table.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(lines) == len(PARTS[part])
    for what, line in zip(PARTS[part], lines, strict=True):
        assert line.startswith(f"| {what}")
        assert line.split("|")[-2].strip() in ("yes", "**no**")
    assert str(tmp_path) not in text
    assert bitcoind[0] not in text
