# Every door to the project. The first two are all that a newcomer needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test lint types imports unit bench-check bench-peers bench-scale bench-speed peers bench-train wheel clean

help:  ## list the doors
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv || $(MAKE) --no-print-directory virtualenv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	touch $@

# Debian's Python makes no virtual environments without one more package; pip can bring what does.
.PHONY: virtualenv
VENV ?= .venv
virtualenv:
	rm -rf $(VENV)
	$(PYTHON) -m pip install --quiet --target .virtualenv virtualenv
	PYTHONPATH=.virtualenv $(PYTHON) -m virtualenv --quiet $(VENV)
	rm -rf .virtualenv

# What the tests use beside Python: strace, to kill a process at any system call. Without it they skip, and say so.
.PHONY: strace
strace:
	@command -v strace >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq strace; } \
		>/dev/null || echo "no strace: the crash tests will be skipped (apt-get install strace)" >&2

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

unit: .venv/.installed strace  ## the tests
	$(BIN)/pytest -m "not soak and not gpu"

DATA ?= $(or $(SEARCHENGINE_DATA),../shared/data)

soak: .venv/.installed strace  ## the long proofs of docs/durability.md, as one table (SEED=…, SHARE=0.1 for a tenth)
	$(BIN)/python -m tests.soak $(if $(SEED),--seed $(SEED)) $(if $(SHARE),--share $(SHARE))
	$(BIN)/pytest -m soak tests/journeys

bench-check: .venv/.installed  ## the figures of benchmarks/expected.toml come out again (DATA=folder of BEIR sets)
	$(BIN)/python -m benchmarks.check $(DATA)

.venv-peers/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers || $(MAKE) --no-print-directory virtualenv VENV=.venv-peers
	.venv-peers/bin/pip install --quiet --requirement benchmarks/peers/requirements.txt
	touch $@

peers: .venv-peers/.installed  ## the environment of the peers, for the next two: txtai, LanceDB, Chroma … (4 minutes)

DOCUMENTS ?= 0
SIZES ?= 5000,100000,1000000
SETS ?= cranfield scifact nfcorpus nq-oracle
KEEP ?= /tmp/searchengine-peers

bench-peers: .venv/.installed peers  ## retrieval quality of the peers and ours (SETS=…, KEEP=folder of indexes and runs)
	$(BIN)/python -m benchmarks.peers.quality $(addprefix $(DATA)/,$(SETS)) --keep $(KEEP) \
		--json runs/peers.json --plot runs/peers.png

bench-speed: .venv/.installed peers  ## encoding, indexing and query speed and memory, as ratios in one run, with the peers
	$(BIN)/python -m benchmarks.speed.encode $(DATA)/scifact --passages 1536 --json runs/speed/encode.json
	$(BIN)/python -m benchmarks.speed.peers $(DATA)/scifact --documents $(DOCUMENTS) --json runs/speed/peers.json --plots runs/speed
	$(BIN)/searchengine bench $(DATA)/scifact --index /tmp/searchengine-speed
	$(BIN)/python -m benchmarks.speed.query /tmp/searchengine-speed
	$(BIN)/python -m benchmarks.speed.sizes $(DATA)/scifact --sizes $(SIZES) --keep /tmp/searchengine-sizes \
		--json runs/speed/sizes.json --plot runs/speed/sizes.png
	$(BIN)/python -m benchmarks.speed.update

bench-scale: .venv/.installed  ## every kind of search structure against the exact scan, 10 k to 1 M vectors (half an hour)
	$(BIN)/python -m benchmarks.scale.curve --json /tmp/searchengine-scale.json --plots /tmp/searchengine-scale
	$(BIN)/python -m benchmarks.scale.curve --sizes 100000 --real $(DATA)/train-text

bench-train: .venv/.installed  ## a MoCo step against a plain loop; three seeds of supervised-hard (about an hour)
	$(BIN)/python -m benchmarks.speed.train $(DATA)/scifact
	$(BIN)/python -m benchmarks.finetune seeds $(DATA)/scifact --untouched $(DATA)/cranfield --keep /tmp/searchengine-models
	$(BIN)/python -m benchmarks.finetune negatives $(DATA)/scifact --keep /tmp/searchengine-models

wheel: .venv/.installed  ## build the wheel into dist/
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove what the doors made
	rm -rf .venv .venv-peers dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
