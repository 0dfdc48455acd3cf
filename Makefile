# Every target sets up what it needs in a virtual environment of its own: .venv, or .venv-X.Y with PYTHON=.
# Stamps inside it make a second run quick; the native module is built anew when src/ or Cargo.* changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

ifeq ($(origin PYTHON),undefined)
# The first Python on PATH that is new enough: `python3` is too old on some machines, a pyenv shim may stand for nothing.
PYTHON := $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
else
version := $(shell '$(PYTHON)' -c 'import sys; sys.version_info >= (3, 11) and print("%d.%d" % sys.version_info[:2])')
$(if $(version),,$(error PYTHON=$(PYTHON) does not run or is older than 3.11))
VENV ?= .venv-$(version)
# pyo3 is compiled for one interpreter: a directory each, or every change of interpreter compiles it anew.
export CARGO_TARGET_DIR ?= $(CURDIR)/target/py-$(version)
endif

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check
# Through the backend, as a user's build. Not isolated: maturin is in the environment, and the build quicker by a download.
INSTALL_NATIVE = PATH="$(abspath $(VENV))/bin:$$PATH" SWITCHGEAR_BUILD=native \
	$(PIP) install --no-build-isolation --no-deps --editable .
# Without cargo there is only the pure package: `demo` and the tests do with that. With it, native is what gets built.
CARGO := $(shell command -v cargo 2>/dev/null)
NATIVE := $(if $(CARGO),$(VENV)/.native)
NO_CARGO := SKIPPED: cargo is not on this machine
RUST_SOURCES := $(wildcard Cargo.toml Cargo.lock build.rs) $(shell find src -name '*.rs' 2>/dev/null)
PACKAGING := pyproject.toml build_backend/switchgear_build.py

# A process a core, and what bears no company in a group of its own. `logical`: where psutil is installed, `auto` would
# leave half of the cores of a hyper-threaded machine alone.
PYTEST_ARGS ?= --numprocesses=logical --maxprocesses=8 --dist=loadgroup

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "PYTHON=... chooses the interpreter (3.11 or newer); its environment is .venv-X.Y"

.PHONY: demo
demo: $(VENV)/.extra-demo $(NATIVE) ## a trading system on five breakers through eleven faults, within a minute
	$(PY) -m switchgear demo

# What an earlier run has shown is not run again: AGAIN=1 says that there was one. A `-m` in PYTEST_ARGS comes last and wins.
again = $(if $(AGAIN),-m 'not once and not service')

.PHONY: test
test: test-rust test-python ## the core in Rust, then the suite on the native and on the pure backend

.PHONY: test-rust
test-rust: ## the core in Rust, without Python
	$(if $(CARGO),cargo test,@echo "$(NO_CARGO): no tests of the core")

.PHONY: test-python
test-python: $(VENV)/.extra-test $(NATIVE) ## the suite on both backends
	$(if $(CARGO),SWITCHGEAR_BACKEND=native $(PY) -m pytest $(again) $(PYTEST_ARGS),@echo "$(NO_CARGO): the pure backend alone")
	SWITCHGEAR_BACKEND=pure $(PY) -m pytest $(if $(CARGO),-m 'not once and not once_per_interpreter$(if $(AGAIN), and not service)',$(again)) $(PYTEST_ARGS)

.PHONY: test-all
test-all: ## test-python with every interpreter from 3.11 up on this machine
	@.ci/interpreters | { again=; while read -r version python; do \
		echo "== Python $$version ($$python)"; \
		$(MAKE) test-python PYTHON="$$python" VENV=".venv-$$version" AGAIN=$$again </dev/null || exit 1; \
		again=1; \
	done; }

.PHONY: test-debug
test-debug: $(VENV)/.extra-test $(VENV)/.maturin ## a debug build: overflow checks, assertions, references dropped where they may be
	@rm -f $(VENV)/.native
	CARGO_TARGET_DIR=$(or $(CARGO_TARGET_DIR),target)/checked RUSTFLAGS='--cfg pyo3_disable_reference_pool' \
		MATURIN_PEP517_ARGS='--profile dev' $(INSTALL_NATIVE)
	SWITCHGEAR_BACKEND=native $(PY) -m pytest -m 'not once and not service' $(PYTEST_ARGS)

.PHONY: bench
bench: $(VENV)/.extra-test $(VENV)/.native ## the table of budgets, as ratios to the bare floor of the same run
	$(PY) benches/table.py --core $(BENCH_ARGS)
	@$(MAKE) bench-services

.PHONY: bench-services
bench-services: $(VENV)/.extra-test $(VENV)/.native ## what the services and the transport add to the calls of their libraries
	@for each in services_api services_database services_neural integrations_httpx; do \
		echo "== $$each"; $(PY) benches/$$each.py || echo "MISS: $$each is over its budget"; \
	done

.PHONY: bench-peers
bench-peers: $(VENV)/.extra-test $(VENV)/.native ## the same beside seven other libraries; installs into .venv those that it can
	@for peer in pybreaker circuitbreaker purgatory aiobreaker interlock-cb nopanic grit-toolkit; do \
		$(PIP) install $$peer || echo "SKIPPED: $$peer does not install here"; \
	done
	$(PY) benches/table.py --peers $(BENCH_ARGS)

.PHONY: lint
lint: $(VENV)/.extra-dev $(VENV)/.native ## ruff, mypy, stubtest, import-linter, clippy, rustfmt
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	MYPYPATH=python $(PY) -m mypy.stubtest switchgear._native $(addprefix --allowlist ,$(wildcard .ci/stubtest-allow.txt))
	$(VENV)/bin/lint-imports
	@if cargo fmt --version >/dev/null 2>&1; then \
		set -x; cargo fmt --check; \
	else echo "SKIPPED: rustfmt is not on this machine"; fi
	@if cargo clippy --version >/dev/null 2>&1; then \
		set -ex; \
		cargo clippy --all-targets -- -D warnings; \
		cargo clippy --all-targets --features python -- -D warnings; \
	else echo "SKIPPED: clippy is not on this machine"; fi

# Loom wants optimised code; what the linker would add costs more time than it saves.
WITHOUT_LTO := CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
# Loom's own log, which is off: optimised, it would be half of what there is to compile.
UNUSED := regex-automata regex-syntax tracing-subscriber
.PHONY: loom
loom: ## every interleaving of the word, the permits and the leases, under loom
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom $(WITHOUT_LTO) \
		cargo test $(UNUSED:%=--config profile.release.package.%.opt-level=0) --release --test loom

.PHONY: chart
chart: $(VENV)/.extra-test ## the table and the chart of docs/choosing-a-rule.md, from simulated outages (minutes)
	SWITCHGEAR_BACKEND=pure $(PY) benches/choose_rule.py --write

.PHONY: soak
soak: $(VENV)/.extra-test $(VENV)/.native ## 20 million mixed calls: memory flat, counters exact (minutes)
	$(PY) benches/soak.py

.PHONY: wheel
wheel: $(VENV)/.made ## a wheel into dist/, native where cargo is usable (SWITCHGEAR_BUILD=native|pure|auto)
	$(PIP) wheel --no-deps --wheel-dir dist .
	@ls -1 dist

.PHONY: clean
clean: ## remove builds, environments and caches
	rm -rf target dist .venv .venv-* .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -f python/switchgear/_native.*so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "switchgear needs Python 3.11 or newer: none on PATH; name one with PYTHON="; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade pip
	@touch $@

$(VENV)/.maturin: $(VENV)/.made
	$(PIP) install 'maturin>=1.9.4,<2'
	@touch $@

# The extras alone: the pure editable install compiles nothing, and .native then adds the module that is compiled. `auto`
# is pure, too, where there is no cargo, and tells the doctor that this is why. pip would compile what it installs on one
# core; what does not compile there, such as a template, nobody imports.
$(VENV)/.extra-%: $(VENV)/.made $(PACKAGING)
	SWITCHGEAR_BUILD=$(if $(CARGO),pure,auto) $(PIP) install --no-compile --editable '.[$*]'
	@$(PY) -W ignore -m compileall -qq -j 0 -r 30 $(VENV) || true
	@touch $@

$(VENV)/.native: $(VENV)/.maturin $(RUST_SOURCES) $(PACKAGING)
	$(INSTALL_NATIVE)
	@touch $@
