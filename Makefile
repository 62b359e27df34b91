# make setup   make a virtual environment in .venv with the packages of requirements.lock (about 75 MB): those of
#              the servers and the demo, and nothing else
# make demo    run all of Nodetill on regtest; DEMO_ARGS=--once ends the demo after one payment
# make setup-dev   add the packages of requirements-dev.lock (about 400 MB), for tests, lint and benchmarks
# make test    run the tests; of similar cases and random examples it runs a part, and `make check` runs all.
#              TEST_ARGS=... goes to pytest, and DATABASE=postgresql runs the tests on PostgreSQL
# make unit    run tests/unit alone, on SQLite, without bitcoind, browser and PostgreSQL: less than a minute on two
#              cores
# make install-test   follow docs/install.md line by line in a fresh Debian 13, up to a payment: needs root
#              and debootstrap
# make fresh-test   run the tests in a fresh, minimal Debian 13 as an ordinary user: needs root and debootstrap;
#              FRESH_ARGS are options that `python -m tests.support.fresh_machine --help` lists
# make deb     build the Debian package in dist/; DEB_ARCH=arm64 builds the one for ARM
# make deb-test    install, upgrade, remove and purge the package in a fresh Debian 13, with a payment: needs root
#              and debootstrap; DEB_ARCH=arm64 needs qemu-user-static, too, and tests the package for ARM
# make image   build the OCI image in dist/ with buildah; IMAGE_BASE=docker.io/library/debian:trixie-slim takes that
#              base, else root makes one by debootstrap
# make image-test  run both servers from the image, with a payment: needs root, buildah and debootstrap;
#              DEB_ARCH=arm64 needs qemu-user-static, too, and tests the image for ARM
# make arm64   run `make demo DEMO_ARGS=--once` in a fresh, minimal Debian 13 for 64-bit ARM, and measure the
#              memory of both servers: needs root, debootstrap, qemu-user-static, and half an hour or more
# make check   run lint and all tests but the slow ones, which must pass before a commit
# make bench   run the benchmarks; BENCH_ARGS=... are options that `python -m bench --help` lists
# make lock    write the lock files anew, after a change of requirements*.txt; LOCK_ARGS=--upgrade takes the
#              newest versions of packages that those files do not pin
# make soak    run the slow tests, a thousand kills, and all functional tests on a real bitcoind, and measure how
#              long a fault hides a payment

PYTHON ?= python3
VENV = .venv
# Most functional tests wait for a server, and most unit tests do not. A worker collects the tests for some seconds.
TEST_WORKERS ?= 6
UNIT_WORKERS ?= 3
DATABASE ?= sqlite
TEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
FRESH_ARGS ?=
LOCK_ARGS ?=
DEB_ARCH ?= $(shell dpkg --print-architecture)
# Debian sorts a version with a tilde before the version without it.
DEB_VERSION ?= $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' version.py | tr - '~')
SOAK_KILLS ?= 1000
SOAK_STORIES ?= 500

# Of similar cases and random examples `make test` runs a part, and `make check` runs all.
TESTS = not slow and not install and not broad

# A module's tests share its servers, so one worker runs them all. The modules start in their order.
PARALLEL = -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder

# Without Python's cache files, each worker compiles all modules and tests again, and so does each program that a test
# starts. Images of containers often set this variable.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup setup-dev bitcoind demo test unit install-test fresh-test arm64 deb deb-test image image-test check lint \
	lock bench soak clean

setup: $(VENV)/installed

setup-dev: $(VENV)/installed-dev

bitcoind: setup
	@$(VENV)/bin/python -m regtest.node

demo: setup
	@.venv/bin/python manage.py demo $(DEMO_ARGS)

# Without Chromium the tests that need it are skipped, but not in CI and not in `make check`.
test: setup-dev bitcoind
	@.venv/bin/python -m tests.support.browser || test -z "$(CI)$(TEST_COMPLETE)"
	TEST_DATABASE=$(DATABASE) .venv/bin/python -m pytest $(PARALLEL) -m "$(TESTS)" $(TEST_ARGS)

unit: TEST_WORKERS = $(UNIT_WORKERS)
unit: setup-dev
	TEST_DATABASE=sqlite-only .venv/bin/python -m pytest $(PARALLEL) \
		-m "$(TESTS) and not postgresql and not browser and not bitcoind" $(or $(TEST_ARGS),tests/unit)

install-test: setup-dev bitcoind
	.venv/bin/python -m pytest -s -m install --timeout 0 tests/functional/test_install_page.py

fresh-test: setup-dev
	@.venv/bin/python -m tests.support.fresh_machine $(FRESH_ARGS)

deb: setup-dev
	@debian/build $(DEB_ARCH) '$(DEB_VERSION)' dist

deb-test image-test: export DEB_ARCH := $(DEB_ARCH)

deb-test: setup-dev bitcoind
	.venv/bin/python -m pytest -s -m install --timeout 0 tests/functional/test_debian_package.py

image: deb
	@container/build $(DEB_ARCH) '$(DEB_VERSION)' dist

image-test: setup-dev bitcoind
	.venv/bin/python -m pytest -s -m install --timeout 0 tests/functional/test_container_image.py

arm64: setup-dev
	@.venv/bin/python -m tests.support.arm64_machine

check: export TEST_COMPLETE = 1
check: TESTS = not slow and not install
check: lint test

lint: setup-dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

# The tests' packages would count, too: structlog, for example, loads rich where it is installed.
bench:
	@$(MAKE) --no-print-directory VENV=.operated setup bitcoind
	@.operated/bin/python -m bench $(BENCH_ARGS)

soak: setup-dev bitcoind
	NODETILL_SOAK_KILLS=$(SOAK_KILLS) NODETILL_MODEL_STORIES=$(SOAK_STORIES) .venv/bin/python -m pytest \
		-n 3 --dist loadscope --timeout 0 -m "" tests/functional/test_daemon_killed.py \
		tests/functional/test_deep_reorgs.py tests/functional/test_random_scenarios.py
	TEST_NODE=bitcoind .venv/bin/python -m pytest $(PARALLEL) -m "not install" \
		tests/functional
	@.venv/bin/python -m tests.support.fault_figures

clean:
	rm -rf dist .venv .operated .bitcoind .clients .peers .php .debian .install \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis

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
	@$(LOCK) --no-deps tests/clients/clients.txt -o tests/clients/clients.lock > /dev/null
	@{ printf -- '--only-binary :all:\n--no-binary pygreenfield\n'; cat tests/clients/clients.lock; } \
		> tests/clients/clients.new && mv tests/clients/clients.new tests/clients/clients.lock

# Without isolation, what builds a package is what requirements-build.lock has, and nothing that pip picks itself.
PIP_INSTALL = $(VENV)/bin/python -m pip install --disable-pip-version-check --require-hashes
PIP_INSTALL_LOCKED = $(PIP_INSTALL) --use-pep517 --no-build-isolation

# pip prints several lines for each package, and a line here stands for ten packages. A pipe hides pip's exit
# status, so the file `succeeded` carries it.
define pip_install
	@echo "Installing the packages of $(2) into $(VENV)"
	@rm -f $(VENV)/succeeded
	@{ $(1) -r $(2) && touch $(VENV)/succeeded; } | { \
		total=$$(grep -c '^[a-zA-Z0-9].*==' $(2)); n=0; \
		while read -r word rest; do case $$word in \
			Collecting|Processing|Requirement|Ignoring) \
				n=$$((n + 1)); [ $$((n % 10)) -ne 0 ] || echo "  package $$n of $$total" ;; \
			Installing) echo "  unpacking" ;; \
		esac; done; }
	@rm $(VENV)/succeeded 2> /dev/null || { echo "pip has failed: its error is above" >&2; exit 1; }
endef

# The file is touched last, so make repeats an installation that was cut short.
$(VENV)/installed: requirements-build.lock requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Nodetill needs Python 3.11 or later: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(VENV)/bin/python || echo "Making a virtual environment in $(VENV)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "No virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	$(call pip_install,$(PIP_INSTALL),requirements-build.lock)
	$(call pip_install,$(PIP_INSTALL_LOCKED),requirements.lock)
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(call pip_install,$(PIP_INSTALL_LOCKED),requirements-dev.lock)
	@touch $@
