# make setup   a virtual environment in .venv: all that the servers need, as requirements.lock has it
# make demo    all of Nodetill on regtest; DEMO_ARGS=--once ends after one payment
# make test    the tests; TEST_ARGS=... goes to pytest, DATABASE=postgresql has all of them run on that
# make check   lint, types, tests: what has to pass before a commit
# make bench   the benchmarks; BENCH_ARGS=... as `python -m bench --help` has them
# make lock    the lock files anew, after a change of requirements*.txt; LOCK_ARGS=--upgrade for the newest of
#              what those files do not pin
# make soak    the long tests: a thousand kills, and how long what a fault hides stays hidden (half an hour)

PYTHON ?= python3
TEST_WORKERS ?= 4
DATABASE ?= sqlite
TEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
LOCK_ARGS ?=
SOAK_KILLS ?= 1000
SOAK_STORIES ?= 500

.PHONY: setup setup-dev bitcoind browser demo test check lint lock bench soak clean

setup: .venv/installed

setup-dev: .venv/installed-dev

bitcoind: setup
	@.venv/bin/python -m regtest.node

demo: bitcoind
	@.venv/bin/python manage.py demo $(DEMO_ARGS)

browser: setup-dev
	@.venv/bin/python -m tests.support.browser

test: setup-dev bitcoind browser
	TEST_DATABASE=$(DATABASE) .venv/bin/python -m pytest -n $(TEST_WORKERS) --dist loadscope $(TEST_ARGS)

check: lint test

lint: setup-dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: setup-dev bitcoind
	@.venv/bin/python -m bench $(BENCH_ARGS)

soak: setup-dev bitcoind
	NODETILL_SOAK_KILLS=$(SOAK_KILLS) NODETILL_MODEL_STORIES=$(SOAK_STORIES) .venv/bin/python -m pytest \
		--timeout 0 tests/functional/test_killed.py tests/functional/test_deep_reorgs.py \
		tests/functional/test_model.py
	@.venv/bin/python -m tests.support.fault_figures

clean:
	rm -rf .venv .bitcoind .peers .php .debian .mypy_cache .ruff_cache .pytest_cache .hypothesis

# For every Python from 3.11 on and every platform at once, so that one file serves all of them. The options of
# requirements.txt come first: pip takes a package without a wheel only where they name it.
lock: LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate $(LOCK_ARGS)
lock:
	@test -x .venv/bin/uv || { echo "Type make setup-dev first: it installs uv" >&2; exit 1; }
	@set -e; for name in requirements-build requirements requirements-dev; do \
		$(LOCK) $$name.txt -o $$name.lock > /dev/null; \
		{ sed -n '/^--.*-binary/p' requirements.txt; cat $$name.lock; } > $$name.new; \
		mv $$name.new $$name.lock; \
	done
	@$(LOCK) --no-deps bench/peers.txt -o bench/peers.lock > /dev/null
	@{ echo "--only-binary :all:"; cat bench/peers.lock; } > bench/peers.new && mv bench/peers.new bench/peers.lock

# Without isolation, what builds a package is what requirements-build.lock has, and nothing that pip picks itself.
PIP_INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
PIP_INSTALL_LOCKED = $(PIP_INSTALL) --use-pep517 --no-build-isolation

# The file is written last, so an installation that was cut short is done again.
.venv/installed: requirements-build.lock requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Nodetill needs Python 3.11 or later: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "No virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	$(PIP_INSTALL) -r requirements-build.lock
	$(PIP_INSTALL_LOCKED) -r requirements.lock
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(PIP_INSTALL_LOCKED) -r requirements-dev.lock
	@touch $@
