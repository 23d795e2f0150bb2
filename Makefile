# Everything a person runs. `make` alone lists the targets.
# Needs Python 3.11 or newer and make; all else is installed into .venv/ from the two locks.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
BENCH := .venv-bench

.PHONY: help venv lock test test-slow run demo lint wheel bench

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-10s %s\n", $$1, $$2}'

venv: $(STAMP)  ## make .venv/ from the locks (redone only when a lock changes)

$(STAMP): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $(STAMP)

lock: $(STAMP)  ## resolve requirements*.in anew into the locks
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock' requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock' requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock' requirements-bench.in -o requirements-bench.txt

test: $(STAMP)  ## all tests but the slow ones, on SQLite and PostgreSQL, with Redis and a browser
	$(BIN)/python -m tests

test-slow: $(STAMP)  ## the slow tests
	$(BIN)/python -m tests --slow

run: $(STAMP)  ## the console and its jobs on http://127.0.0.1:$(PORT)/admin/
	DEBUG=1 $(BIN)/python manage.py run_console --port $(PORT) --with-jobs

demo: $(STAMP)  ## console, two example services and traffic; PORT= moves them
	@PORT=$(PORT) $(BIN)/python -m examples.demo

lint: $(STAMP)  ## style, types, import contracts, missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run

wheel: $(STAMP)  ## the client's wheel, in dist/
	rm -rf build
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

bench: $(BENCH)/.locked  ## what we cost beside our peers, into bench/RESULTS.md; QUICK=1 for a look, ROW=memory for one
	@$(BENCH)/bin/python -m bench $(if $(QUICK),--quick) $(if $(ROW),--row $(ROW))

# The peers are in a venv of their own, so that nothing we run depends on them.
$(BENCH)/.locked: requirements-bench.txt
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@
