# `make run` and `make test` are all a new machine needs: Python 3.11, make, g++.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP := .venv/bin/python -m pip --disable-pip-version-check
# Every install, and every build that an install starts, takes its versions from one file.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
# Tiny models on a busy machine: two threads under contention are far slower than one.
export OMP_NUM_THREADS ?= 1

.PHONY: run test lint clean

run: .venv/.installed-run
	@run=$$(.venv/bin/diffuscope record flux-tiny --scheme int8wo --compile regional --json \
	  | .venv/bin/python -c "import json, sys; print(json.load(sys.stdin)['run'])") \
	&& .venv/bin/diffuscope show $$run

test: .venv/.installed-test
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed-run: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet torch==2.13.0
	$(PIP) install --quiet --editable '.[record,dashboard]'
	@touch $@

.venv/.installed-test: .venv/.installed-run
	$(PIP) install --quiet --editable '.[record,dashboard,dev]'
	@touch $@

clean:
	rm -rf .venv
