"""`python -m bench` runs the benchmarks, prints their table, and writes it to bench/results.md."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bench import blocks, growth, payments, peers, web
from bench.report import Row, bitcoind_version, document, machine
from regtest.node import PROJECT, find_bitcoind


class Part(Protocol):
    """A module of benchmarks."""

    REMARKS: str

    def rows(self, directory: Path, *, is_quick: bool) -> Iterator[Row]:
        """Measure, and yield a row for each figure. `directory` is on a real disk, and deleted later."""


PARTS: dict[str, Part] = {
    "payments": payments,
    "blocks": blocks,
    "web": web,
    "growth": growth,
    "peers": peers,
}

REMARKS = """\
- Times are median (least – most), rates are medians. The node, the daemon and the web server run as they are
  operated, with the packages of requirements.lock alone, SQLite and synchronous=FULL. Other programs on the
  machine slow the figures down.
"""


def main() -> None:
    """Run the parts in a directory beside the project, because their files must reach a real disk."""
    arguments = _arguments()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    names = arguments.only or list(PARTS)
    rows = [row for name in names for row in _measured(name, arguments)]
    remarks = REMARKS + "".join(PARTS[name].REMARKS for name in names)
    text = document(rows, machine(bitcoind_version(find_bitcoind())), remarks)
    print(text)
    arguments.out.write_text(text, encoding="utf-8")


def _measured(name: str, arguments: argparse.Namespace) -> Iterator[Row]:
    print(f"{name} …", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.directory) as directory:
        for row in PARTS[name].rows(Path(directory), is_quick=arguments.quick):
            print(f"  {row.what}: {row.beside} | {row.ours} | {row.compared}", flush=True)
            yield row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part; may be repeated")
    parser.add_argument(
        "--out", type=Path, default=PROJECT / "bench" / "results.md", help="the file of the table"
    )
    parser.add_argument(
        "--directory", type=Path, default=PROJECT / "var", help="where the data is during the run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
