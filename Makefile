# The project's commands. Each sets up what it needs first; what is up to date costs nothing.
# Everything happens inside .venv; root is needed for missing system packages alone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
ARGS ?=
MINUTES ?= 10
SEED ?= 7

.PHONY: help setup setup-dev demo test proof chaos bench lint docs lock

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 18

setup: ## make .venv with what the demo needs
	@tools/setup demo

setup-dev: ## make .venv with what the tests need
	@tools/setup dev

demo: setup ## run the whole line on this machine (ARGS="--units 20")
	@$(BIN)/python -m demo $(ARGS)

test: setup-dev ## run every test on all cores, with coverage (ARGS="-k outbox" runs some)
	@tools/system-packages mosquitto socat ser2net postgresql systemd nodejs npm gcc libc6-dev \
		libmodbus-dev mbpoll avrdude arduino-core-avr libsimavr-dev
	@tools/node-packages tests/interop/label tests/interop/opcua
	$(BIN)/python -m pytest -n logical --dist worksteal --cov --cov-report=term $(if $(ARGS),$(ARGS),--cov-fail-under=90)

proof: setup-dev ## try every property of framing and decoding on 10,000 generated streams
	HYPOTHESIS_PROFILE=proof $(BIN)/python -m pytest -n logical --dist worksteal -o faulthandler_timeout=3600 \
		tests/unit/test_framing.py tests/unit/test_fields.py tests/unit/test_modbus_codec.py \
		tests/unit/test_modbus_frames.py tests/unit/test_opcua_values.py

chaos: setup-dev ## break a whole line on purpose and compare (MINUTES=10 SEED=7, ARGS="--broker iotcore")
	@tools/system-packages mosquitto postgresql faketime
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED) $(ARGS)

bench: setup-dev ## measure latency, footprint, CPU, ingest, ... beside a floor (ARGS=latency runs one)
	@tools/system-packages mosquitto postgresql
	@$(BIN)/python -m tests.bench $(ARGS)

lint: setup-dev ## style, types, who imports whom, published schemas, tables of keys
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=docs/drivers/example $(BIN)/mypy -p seamcam
	$(BIN)/lint-imports
	$(BIN)/python -m contracts.schema --check
	$(BIN)/python -m drivers.reference --check
	$(BIN)/python -m agent.reference --check
	$(BIN)/python -m agent.schema --check
	$(BIN)/python -m agent.command_reference --check

docs: setup-dev ## the documents as a site in var/docs; what links to nowhere ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

lock: setup-dev ## resolve requirements/*.lock anew (ARGS=--upgrade takes newest releases)
	@tools/lock $(ARGS)
