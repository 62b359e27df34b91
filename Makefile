# make setup   a virtual environment in .venv: all that the servers need
# make demo    all of Nodetill on regtest; DEMO_ARGS=--once ends after one payment
# make test    the tests; TEST_ARGS=... goes to pytest, DATABASE=postgresql has all of them run on that
# make check   lint, types, tests: what has to pass before a commit
# make bench   the benchmarks; BENCH_ARGS=... as `python -m bench --help` has them
# make soak    the long tests: a thousand kills, and how long what a fault hides stays hidden (half an hour)

PYTHON ?= python3
TEST_WORKERS ?= 4
DATABASE ?= sqlite
TEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
SOAK_KILLS ?= 1000
SOAK_STORIES ?= 500

.PHONY: setup bitcoind browser demo test check lint bench soak clean

setup: .venv/installed

bitcoind: setup
	@.venv/bin/python -m regtest.node

demo: bitcoind
	@.venv/bin/python manage.py demo $(DEMO_ARGS)

browser: setup
	@.venv/bin/python -m tests.support.browser

test: bitcoind browser
	TEST_DATABASE=$(DATABASE) .venv/bin/python -m pytest -n $(TEST_WORKERS) --dist loadscope $(TEST_ARGS)

check: lint test

lint: .venv/installed
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: bitcoind
	@.venv/bin/python -m bench $(BENCH_ARGS)

soak: bitcoind
	NODETILL_SOAK_KILLS=$(SOAK_KILLS) NODETILL_MODEL_STORIES=$(SOAK_STORIES) .venv/bin/python -m pytest \
		--timeout 0 tests/functional/test_killed.py tests/functional/test_deep_reorgs.py \
		tests/functional/test_model.py
	@.venv/bin/python -m tests.support.fault_figures

clean:
	rm -rf .venv .bitcoind .peers .php .debian .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The file is written last, so an installation that was cut short is done again.
.venv/installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Nodetill needs Python 3.11 or later: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "No virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 -r requirements-dev.txt
	@touch $@
