"""`python -m bench`: measure, print the table, and write it to bench/results.md."""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from admin.regtest import PROJECT, find_bitcoind
from bench import matching, missed, payments, web
from bench.report import Row, bitcoind_version, document, machine

PARTS = {"payments": payments, "matching": matching, "missed": missed, "web": web}

REMARKS = """\
- Times are median (least – most), rates are medians. The node, the daemon and the web server run as they are
  operated: SQLite, synchronous=FULL. Whatever else the machine does during the run is in the figures too.
"""


def main() -> None:
    """Run, on a directory of its own beside the project: what it writes must reach a real disk."""
    options = _options()
    options.directory.mkdir(parents=True, exist_ok=True)
    names = options.only or list(PARTS)
    rows: list[Row] = []
    for name in names:
        for row in _measured(name, options):
            print(f"  {row.what}: {row.floor} | {row.ours} | {row.comparison}", flush=True)
            rows.append(row)
    remarks = REMARKS + "".join(PARTS[name].REMARKS for name in names)
    text = document(rows, machine(bitcoind_version(find_bitcoind())), remarks)
    print(text)
    options.out.write_text(text, encoding="utf-8")


def _measured(name: str, options: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as place:
        print(f"{name} …", flush=True)
        directory = Path(place)
        match name:
            case "payments":
                yield from payments.rows(payments.QUICK if options.quick else payments.Plan(), directory)
            case "matching":
                matching_plan = matching.QUICK if options.quick else matching.MatchingPlan()
                yield from matching.rows(replace(matching_plan, block=options.block), directory)
            case "missed":
                yield from missed.rows(missed.QUICK if options.quick else missed.MissedPlan(), directory)
            case "web":
                yield from web.rows(web.QUICK if options.quick else web.WebPlan(), directory)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="this part; may be repeated")
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
