"""The benchmarks run, and write their table. What they measure is nobody's truth but the machine's."""

import subprocess
import sys
from pathlib import Path

import pytest

from regtest.node import PROJECT


def _quick_run(directory: Path, *options: str) -> str:
    """The table it writes."""
    table = directory / "results.md"
    command = [sys.executable, "-m", "bench", "--quick", "--out", str(table), "--directory", str(directory)]
    done = subprocess.run([*command, *options], cwd=PROJECT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return table.read_text(encoding="utf-8")


AT_WORK = ("payments", "blocks", "web", "sustained")
WITH_MUCH = ("missed", "matching", "growth", "mempool")
ON_SQLITE = ("peers",)
"""The parts of a run: those that are measured on each database, and the others."""


def _only(*parts: str) -> list[str]:
    return [word for part in parts for word in ("--only", part)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_quick_run_writes_its_table_with_both_sizes_of_the_address_table(
    tmp_path: Path, bitcoind: list[str], kind: str
) -> None:
    """Every figure has a line; nothing in it names a place on the machine."""
    text = _quick_run(tmp_path, "--database", kind, *_only(*AT_WORK))
    assert (", on PostgreSQL |" in text) == (kind == "postgresql")
    for line in (
        "live payment, 1,000",
        "live payment, 2,000",
        "live payment's p99, 2,000",
        "a bare subscriber that asks, and stores a payment",
        "live payment in the first seconds after a start, 2,000",
        "webhook of a live payment, 2,000",
        "block of 0.12 MWU: 201 transactions, 4 of them ours",
        "each payment more in a block",
        "block of 0.02 MWU: 3 transactions, one output of ours",
        "block of 0.02 MWU: 3 transactions, 4 outputs of ours",
        "3 transactions, 4 outputs of ours, beside a look through it and storing",
        "3 transactions, 4 outputs of ours: what of it the daemon computes",
        "block of 0.12 MWU: 201 transactions, beside 500 open requests",
        "daemon's memory idle",
        "new requests, 2 clients",
        "an empty page, then a request made by hand, 2 clients",
        "processor time of each new request, 2 clients",
        "status reads of 5 open pages",
        "new requests sustained, 2 clients",
        "new requests sustained, 2 clients, by two web servers",
    ):
        assert f"| {line}" in text
    assert str(tmp_path) not in text
    assert bitcoind[0] not in text


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_quick_run_measures_what_much_takes(tmp_path: Path, bitcoind: list[str], kind: str) -> None:
    """Missed blocks, foreign transactions, large tables, a full mempool."""
    text = _quick_run(tmp_path, "--database", kind, *_only(*WITH_MUCH))
    for line in (
        "foreign transactions, 2,000",
        "foreign transactions, 2,000 addresses, beside parsing and asking for nothing",
        "a block of large ones (2 transactions), 2,000 addresses",
        "600 missed blocks of one transaction",
        "60 missed blocks of 51 transactions",
        "run_daemon's start, 8,000 addresses and 1,000 requests",
        "run_web's memory after load, 8,000 addresses",
        "mempool re-read with 100 foreign transactions, where no wallet can be asked",
        "the next one, with 5 new, by the wallet",
        "daemon's memory after a first re-read",
    ):
        assert f"| {line}" in text
    assert str(tmp_path) not in text
    assert bitcoind[0] not in text


def test_a_quick_run_measures_the_peers(tmp_path: Path, bitcoind: list[str]) -> None:
    """What is measured on SQLite alone; the first time, the package beside us is fetched."""
    text = _quick_run(tmp_path, *_only(*ON_SQLITE))
    for line in (
        "beside bitcoinwatcher, with a backlog of 10",
        "beside decoderawtransaction, a payment right after a block",
    ):
        assert f"| {line}" in text
    assert str(tmp_path) not in text
    assert bitcoind[0] not in text


def test_a_quick_hour_writes_its_table_and_its_plot(tmp_path: Path, bitcoind: list[str]) -> None:
    """All that was paid is seen; the plot has a line for each process, and fetches nothing."""
    text = _quick_run(tmp_path, "--only", "hour")
    assert text.count("'s memory, quarter by quarter") == 2
    assert " seen as paid" in text
    plot = (tmp_path / "hour.svg").read_text(encoding="utf-8")
    assert "run_daemon" in plot
    assert "run_web" in plot
    assert "<script xlink" not in plot
    assert bitcoind[0] not in text
