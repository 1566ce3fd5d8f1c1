# Every door to the project. The first two are all that a newcomer needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test lint types imports unit bench-check wheel clean

help:  ## list the doors
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	touch $@

demo: .venv/.installed  ## index the sample folder and answer three questions
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

test: lint types imports unit  ## lint, types, import contract and all tests

lint: .venv/.installed  ## ruff, formatting included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed  ## mypy, strict
	$(BIN)/mypy

imports: .venv/.installed  ## imports run one way
	$(BIN)/lint-imports --no-cache

unit: .venv/.installed  ## the tests
	$(BIN)/pytest -m "not soak and not gpu"

DATA ?= $(or $(SEARCHENGINE_DATA),../shared/data)

bench-check: .venv/.installed  ## the figures of benchmarks/expected.toml come out again (DATA=folder of BEIR sets)
	$(BIN)/python -m benchmarks.check $(DATA)

bench-speed: .venv/.installed  ## encoding and query speed, as ratios in one run
	$(BIN)/python -m benchmarks.speed.encode $(DATA)/scifact
	$(BIN)/searchengine bench $(DATA)/scifact --index /tmp/searchengine-speed
	$(BIN)/python -m benchmarks.speed.query /tmp/searchengine-speed

wheel: .venv/.installed  ## build the wheel into dist/
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove what the doors made
	rm -rf .venv dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
