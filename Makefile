# The project's commands. Everything happens inside .venv; nothing needs root but missing system packages.
SHELL := /bin/bash
PY := .venv/bin/python
ARGS ?=
TEST_PACKAGES := mosquitto socat postgresql systemd

.PHONY: help setup setup-dev demo test lint lock

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/demo.stamp  ## make .venv with what the demo needs

setup-dev: .venv/dev.stamp  ## make .venv with what the tests need

.venv/demo.stamp: requirements/demo.lock pyproject.toml
	tools/setup demo
.venv/dev.stamp: requirements/dev.lock pyproject.toml
	tools/setup dev

demo: setup  ## run the whole line on this machine (ARGS="--units 20")
	$(PY) -m demo $(ARGS)

test: setup-dev  ## run every test (ARGS="-k outbox")
	tools/system-packages $(TEST_PACKAGES)
	$(PY) -m pytest --cov --cov-report=term $(ARGS)

lint: setup-dev  ## format, lint, types, imports, schemas
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) -m contracts.schema --check

lock: setup-dev  ## resolve the lock files anew
	tools/lock
