# `make` prints the targets. Nothing here needs more than make, a shell and Python 3.11 with its venv module.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEER := .venv-mlflow
PEERS := .venv-peers
EVIDENTLY := .venv-evidently

# The first of these that is Python 3.11 or newer makes the environment; `make PYTHON=/path/to/python3.12 ...` chooses another.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$$name"; break; fi; done)

WORKERS ?= 2
TESTS ?= tests

.PHONY: help setup demo test check format bench lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment (.venv) from the locked versions

# Keyed on the lock and the metadata: when either changes, the next target installs what has changed.
$(READY): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "OptAIC Runs needs Python 3.11 or newer; \`python3\` here is: $$(python3 --version 2>&1 || true)." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(or $(MAKECMDGOALS),setup)" >&2; exit 2; fi
	@if [ ! -x $(BIN)/python ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "making $(VENV) with $$("$(PYTHON)" --version)"; \
		"$(PYTHON)" -m venv --clear $(VENV) || { \
			echo "Python's venv module is not complete; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }; fi
	@echo "installing the locked packages into $(VENV) (once; some minutes on a slow line)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## the example project, end to end, on real market data
	@$(BIN)/optaic demo

test: $(READY) ## all tests, PostgreSQL included   (TESTS=tests/unit WORKERS=4)
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal $(TESTS)

check: $(READY) ## lint, format, types, import contracts, and the house's own gates
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/architecture

format: $(READY) ## let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# Environments of peers are needed by one script each: other benchmarks do not wait for them.
bench: $(READY) $(if $(BENCH),$(if $(findstring tracked,$(BENCH)),$(PEER)/.ready),$(PEER)/.ready)
bench: $(if $(BENCH),$(if $(findstring simulate,$(BENCH)),$(PEERS)/.ready),$(PEERS)/.ready)
bench: $(if $(BENCH),$(if $(findstring drift,$(BENCH)),$(EVIDENTLY)/.ready),$(EVIDENTLY)/.ready)
bench: ## benchmarks, side by side with others; one script: make bench BENCH=benchmarks/claim.py
	@for script in $(or $(BENCH),benchmarks/[a-z]*.py); do echo "== $$script"; $(BIN)/python "$$script"; done

$(PEER)/.ready: benchmarks/mlflow.lock
	@echo "installing the peer of benchmarks/tracked.py into $(PEER) (once; some minutes on a slow line)"
	@"$(PYTHON)" -m venv --clear $(PEER)
	@$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/mlflow.lock
	@touch $@

$(PEERS)/.ready: benchmarks/peers.lock
	@echo "installing the peers of benchmarks/simulate.py into $(PEERS) (once; some minutes on a slow line)"
	@"$(PYTHON)" -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/peers.lock
	@touch $@

$(EVIDENTLY)/.ready: benchmarks/evidently.lock
	@echo "installing the peer of benchmarks/drift.py into $(EVIDENTLY) (once; some minutes on a slow line)"
	@"$(PYTHON)" -m venv --clear $(EVIDENTLY)
	@$(EVIDENTLY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/evidently.lock
	@touch $@

lock: ## resolve the versions anew: hashes, and no address of any index   (UPGRADE=--upgrade takes the newest)
	@[ -x .venv-lock/bin/uv ] || { "$(PYTHON)" -m venv .venv-lock && .venv-lock/bin/pip install --quiet uv; }
	@.venv-lock/bin/uv pip compile pyproject.toml --all-extras --group dev --constraints constraints.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --quiet $(UPGRADE) --output-file requirements.lock
	@.venv-lock/bin/uv pip compile benchmarks/mlflow.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --quiet $(UPGRADE) --output-file benchmarks/mlflow.lock
	@.venv-lock/bin/uv pip compile benchmarks/peers.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --quiet $(UPGRADE) --output-file benchmarks/peers.lock
	@.venv-lock/bin/uv pip compile benchmarks/evidently.in \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' --quiet $(UPGRADE) --output-file benchmarks/evidently.lock
	@echo "requirements.lock: $$(grep -c '==' requirements.lock) packages"

clean: ## remove the environment and everything that tools left behind
	@rm -rf $(VENV) $(PEER) $(PEERS) $(EVIDENTLY) .venv-lock build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -path './.*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
