"""`python -m bench`: measure, print the table, and write it to bench/results.md."""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import blocks, growth, hour, matching, mempool, missed, payments, peers, sustained, web
from bench.database import KINDS
from bench.part import Options, Part
from bench.report import Row, bitcoind_version, document, machine
from regtest.node import PROJECT, find_bitcoind

PARTS: dict[str, Part] = {
    "payments": payments,
    "blocks": blocks,
    "web": web,
    "sustained": sustained,
    "missed": missed,
    "matching": matching,
    "growth": growth,
    "mempool": mempool,
    "peers": peers,
}
EVERY_PART: dict[str, Part] = {**PARTS, "hour": hour}
"""Those that take too long for every run, too."""
SQLITE = "sqlite"
ON_BOTH = ("payments", "blocks", "web", "sustained", "missed", "matching", "growth", "mempool")
"""What the database has a part in; the others are measured on SQLite alone."""

REMARKS = """\
- Times are median (least – most), rates are medians. The node, the daemon and the web server run as they are
  operated: SQLite with synchronous=FULL, or PostgreSQL as it comes, on the same machine; both have a commit
  on the disk before it is told. Whatever else the machine does during the run is in the figures too.
"""


def main() -> None:
    """Run, on a directory of its own beside the project: what it writes must reach a real disk."""
    arguments = _arguments()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    names = arguments.only or list(PARTS)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.directory) as shared:
        rows = list(_measured_all(names, arguments, Path(shared)))
    remarks = REMARKS + "".join(EVERY_PART[name].REMARKS for name in names)
    text = document(rows, machine(bitcoind_version(find_bitcoind())), remarks)
    print(text)
    arguments.out.write_text(text, encoding="utf-8")


def _measured_all(names: list[str], arguments: argparse.Namespace, shared: Path) -> Iterator[Row]:
    for name in names:
        for kind in _kinds(name, arguments.database or list(KINDS)):
            print(f"{name}, on {kind} …", flush=True)
            for row in _measured(EVERY_PART[name], kind, arguments, shared):
                print(f"  {row.what}: {row.floor} | {row.ours} | {row.comparison}", flush=True)
                yield row


def _kinds(name: str, wanted: list[str]) -> list[str]:
    """The databases that a part is measured on."""
    return [kind for kind in wanted if name in ON_BOTH or kind == SQLITE]


def _measured(part: Part, kind: str, arguments: argparse.Namespace, shared: Path) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="part-", dir=shared) as place,
        KINDS[kind]() as new_database,
    ):
        options = Options(
            Path(place),
            arguments.quick,
            arguments.block,
            plots=arguments.out.parent,
            minutes=arguments.minutes,
            new_database=new_database,
            shared=shared,
            is_lean=kind != SQLITE,
        )
        suffix = "" if kind == SQLITE else ", on PostgreSQL"
        for row in part.rows(options):
            yield replace(row, what=row.what + suffix)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    parser.add_argument(
        "--only", action="append", choices=list(EVERY_PART), help="this part; may be repeated"
    )
    parser.add_argument("--database", action="append", choices=list(KINDS), help="may be repeated; both")
    parser.add_argument("--minutes", type=float, default=60, help="how long the part `hour` takes")
    parser.add_argument("--block", type=Path, help="a block of the main chain, to measure parsing on")
    parser.add_argument(
        "--out", type=Path, default=PROJECT / "bench" / "results.md", help="where the table goes"
    )
    parser.add_argument(
        "--directory", type=Path, default=PROJECT / "var", help="where the data goes for the time of the run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
