# Each target sets up what it needs on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint types suite server bench validate lab sample clean

help:            ## this list
	@grep -E '^[a-z]+: .*##' Makefile | sed -E 's/:.*##/	/'

setup: $(READY)  ## virtual environment with pinned packages

$(READY): pyproject.toml constraints.txt tools/setup.sh
	PYTHON='$(PYTHON)' sh tools/setup.sh $(VENV)
	touch $@

demo: $(READY)   ## simulate, import, backtest three settings, report: reports/demo/report.html
	rm -rf reports/demo
	$(BIN)/issue-analytics demo --out reports/demo

test: lint types suite  ## everything that must pass

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

suite: $(READY) server
	$(BIN)/python -m pytest -n 2 --dist worksteal

server:
	sh tools/postgres.sh

bench: $(READY)  ## ratios against peers measured in the same run
	$(BIN)/python benchmarks/kernel.py
	$(BIN)/python benchmarks/counts.py
	$(BIN)/python benchmarks/jsonlines.py
	$(BIN)/python benchmarks/replay.py
	$(BIN)/python benchmarks/scores.py
	$(BIN)/python benchmarks/tuning.py

validate: $(READY) ## how often intervals hold the truth, by simulation: reports/validation.md; minutes
	$(BIN)/python tools/validate.py

lab: $(READY)    ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

sample: $(READY) ## make data/sample again
	rm -rf data/sample
	$(BIN)/issue-analytics simulate --groups 40 --days 21 --seed 7 --out data/sample

clean:           ## remove what was made
	rm -rf $(VENV) reports/demo runs exports .pytest_cache .mypy_cache .ruff_cache .hypothesis
