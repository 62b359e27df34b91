# make setup   make a virtual environment in .venv with the servers' packages, as requirements.lock pins them
# make demo    run all of Nodetill on regtest; DEMO_ARGS=--once ends the demo after one payment
# make test    run the tests; TEST_ARGS=... goes to pytest, and DATABASE=postgresql runs them on PostgreSQL
# make install-test   follow docs/install.md line by line in a fresh Debian 13, up to a payment: needs root,
#              debootstrap and ten minutes
# make check   run lint and tests, which must pass before a commit
# make bench   run the benchmarks; BENCH_ARGS=... are options that `python -m bench --help` lists
# make lock    write the lock files anew, after a change of requirements*.txt; LOCK_ARGS=--upgrade takes the
#              newest versions of packages that those files do not pin
# make soak    run the long tests (half an hour): a thousand kills, and the delay of payments that a fault hides

PYTHON ?= python3
TEST_WORKERS ?= 4
DATABASE ?= sqlite
TEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
LOCK_ARGS ?=
SOAK_KILLS ?= 1000
SOAK_STORIES ?= 500

.PHONY: setup setup-dev bitcoind browser demo test install-test check lint lock bench soak clean

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

install-test: setup-dev bitcoind
	NODETILL_INSTALL_TEST=1 .venv/bin/python -m pytest -s --timeout 0 tests/functional/test_install_page.py

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
	rm -rf .venv .bitcoind .peers .php .debian .install .mypy_cache .ruff_cache .pytest_cache .hypothesis

# One lock file is for every Python from 3.11 on and for every platform. The options of requirements.txt come
# first, because pip takes a package without a wheel only where these options name the package.
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

# The file is touched last, so make repeats an installation that was cut short.
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
