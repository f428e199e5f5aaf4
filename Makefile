# `make` alone lists the targets. Everything is installed into ./.venv (and tests/node_modules), nothing elsewhere.

PYTHON ?= python3
PY     := .venv/bin/python
# The tests wait more than they work; each process of them has a database of its own.
JOBS   ?= 4
PIP    := $(PY) -m pip --disable-pip-version-check --no-input -q
INSTALL = $(PIP) install --require-hashes -r

.PHONY: help run test cover check audit bench breaks hostile ezout faults fuzz types permissions schema sql-version pins clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: .venv/.run ## start Recado: database, WebSocket, REST, all in one process
	@exec $(PY) -m recado

test: .venv/.dev wscat check ## check, then every test (REQUIRE_ALL=1: a missing tool fails, not skips)
	@$(TESTS)

cover: .venv/.dev wscat ## every test with the lines and branches it runs counted (half as long again)
	@rm -f .coverage .coverage.*
	@$(TESTS) --cov --cov-report=term
	@$(call fully_covered,messaging/delivery.py)

check: .venv/.dev ## what must hold before every commit: ruff, mypy --strict, tsc, the house (seconds)
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --check --quiet . || { echo "Some files are not formatted: .venv/bin/ruff format ."; exit 1; }
	@$(PY) -m mypy --strict --no-error-summary
	@$(PY) -m pytest -q --no-header -rs tests/test_house.py tests/pages/test_types.py

audit: .venv/.tools ## whether a pinned package has a known vulnerability (asks PyPI)
	@for pins in requirements-dev.txt requirements-tools.txt; do \
	  $(PY) -m pip_audit --strict --progress-spinner off --disable-pip --require-hashes -r $$pins || exit 1; done

faults: .venv/.dev ## the longer tests: crashes, dead buses, cut lines
	@$(PY) -m pytest -m faults

fuzz: .venv/.dev ## ask the API all that its description leaves open, and at random (EXAMPLES=100 requests of an operation)
	@FUZZ_PHASES=examples,coverage,fuzzing FUZZ_EXAMPLES=$(or $(EXAMPLES),50) $(PY) -m pytest tests/api/test_description.py

breaks: .venv/.dev wscat ## break the code line by line: a named test must fail each time (ONLY=words: some)
	@exec env PYTHONPATH=tests $(PY) -m breaks $(ONLY)

bench: .venv/.run ## measure throughput and latency on this machine
	@exec $(PY) -m bench

hostile: .venv/.dev ## attack a real Recado, and measure what others feel of it (root; ONLY=A9 for one row)
	@exec env PYTHONPATH=.:tests $(PY) -m hostile $(ONLY)

ezout: .venv/.dev ## the shops' example: customers check out, NATS and a member watch
	@exec $(PY) examples/ezout

permissions: .venv/.dev ## make the tables of docs/permissions.md anew from what the doors answer
	@WRITE_PERMISSIONS=1 $(PY) -m pytest -q --no-header tests/permissions

types: .venv/.dev wscat ## make api/web/*.d.ts anew from the JSDoc of recado.js
	@WRITE_TYPES=1 $(PY) -m pytest -q --no-header tests/pages/test_types.py

schema: .venv/.dev ## make sql/current.sql anew, the schema on one page, from what the migrations make
	@WRITE_SCHEMA=1 $(PY) -m pytest -q --no-header tests/store/test_current_schema.py

sql-version: .venv/.dev ## raise the number of schema and functions (sql/version.json) where they have changed
	@$(PY) -m scripts.raise_sql_version

pins: .venv/.tools ## renew requirements*.txt from pyproject.toml (UPGRADE=1: take the newest of everything)
	@$(COMPILE) $(EXTRAS) -o requirements.txt pyproject.toml
	@$(COMPILE) $(EXTRAS) --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	@$(COMPILE) --group tools -c requirements-dev.txt -o requirements-tools.txt

clean: ## remove what was installed or made; ./data stays
	@rm -rf .venv tests/node_modules htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info recado/*.egg-info build recado/build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets stand on ---------------------------------------------------------------------

TESTS = $(PY) -m pytest -m "not faults" -n $(JOBS) --dist worksteal

COMPILE = $(PY) -m uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-header --no-annotate --no-emit-package recado $(if $(UPGRADE),--upgrade)
EXTRAS  = --extra nats --extra rabbitmq --extra terminal

# Prints nothing unless a branch of the file was missed, so that pytest's closing line stays the last one.
define fully_covered
report=$$($(PY) -m coverage report --show-missing --include=$(1) --fail-under=100) || { echo "$$report"; exit 1; }
endef

# Made by a Python that has gone since: it is made again, from nothing.
ifneq ($(shell test -x $(PY) || echo gone),)
.PHONY: .venv/.made
CLEAR := --clear
endif
.venv/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python 3.11 or newer is needed, and there is no '$(PYTHON)' here." \
	    "Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." \
	    "Name a newer one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(no_venv); }
	@echo "Making .venv with $$($(PYTHON) -V) ..."
	@$(PYTHON) -m venv $(CLEAR) .venv || { rm -rf .venv; $(no_venv); }
	@touch $@

define no_venv
echo "'$(PYTHON) -m venv' does not work here: its ensurepip is missing."; \
echo "On Debian and Ubuntu: apt install python3-venv   (as root, or with sudo); then again."; exit 1
endef

.venv/.run: requirements.txt .venv/.made
	@echo "Installing pinned dependencies into .venv (less than a minute) ..."
	@$(INSTALL) requirements.txt
	@touch $@

# The pins for development include those for running: both stamps are set.
.venv/.dev: requirements-dev.txt requirements.txt .venv/.made
	@echo "Installing pinned dependencies and test tools into .venv (about a minute) ..."
	@$(INSTALL) requirements-dev.txt
	@touch .venv/.run $@

# What makes the pins and looks them up; nothing else needs it.
.venv/.tools: requirements-tools.txt .venv/.dev
	@$(INSTALL) requirements-tools.txt
	@touch $@

# wscat proves that a client which knows nothing of Recado works, axe-core that its pages do for everybody; TypeScript
# checks their modules. Where npm is missing, or can't install them, their tests are skipped, and the run says so at its end.
.PHONY: wscat
wscat: $(if $(shell command -v npm 2>/dev/null),tests/node_modules/.made)

tests/node_modules/.made: tests/package.json
	@echo "Installing wscat, axe-core and TypeScript into tests/node_modules ..."
	@npm --prefix tests install --no-package-lock --no-audit --no-fund --loglevel=error </dev/null >/dev/null \
	  && touch $@ || [ "$(REQUIRE_ALL)" != 1 ]
