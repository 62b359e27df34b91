"""`python -m bench`: measure, print the table, and write it to bench/results.md."""

import argparse
import tempfile
from pathlib import Path

from admin.regtest import PROJECT, find_bitcoind
from bench.report import bitcoind_version, document, machine
from bench.run import QUICK, REMARKS, Plan, measure, rows


def main() -> None:
    """Run, on a directory of its own beside the project: what it writes must reach a real disk."""
    options = _options()
    plan = QUICK if options.quick else Plan()
    options.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as directory:
        figures = measure(plan, Path(directory))
    text = document(rows(plan, figures), machine(bitcoind_version(find_bitcoind())), REMARKS)
    print(text)
    options.out.write_text(text, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    parser.add_argument(
        "--out", type=Path, default=PROJECT / "bench" / "results.md", help="where the table goes"
    )
    parser.add_argument(
        "--directory", type=Path, default=PROJECT / "var", help="where the data goes for the time of the run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
