"""The benchmarks run, and write their table. What they measure is nobody's truth but the machine's."""

import subprocess
import sys
from pathlib import Path

from admin.regtest import PROJECT


def test_a_quick_run_writes_its_table_with_both_sizes_of_the_address_table(
    tmp_path: Path, bitcoind: list[str]
) -> None:
    """Every figure has a line; nothing in it names a place on the machine."""
    table = tmp_path / "results.md"
    command = [sys.executable, "-m", "bench", "--quick", "--out", str(table), "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    text = table.read_text(encoding="utf-8")
    for line in (
        "live payment, 1,000",
        "live payment, 2,000",
        "block of",
        "daemon's memory idle",
        "foreign transactions, 2,000",
        "20 missed blocks",
        "new requests, 2 clients",
        "status reads of 5 open pages",
    ):
        assert f"| {line}" in text
    assert str(tmp_path) not in text
    assert bitcoind[0] not in text
