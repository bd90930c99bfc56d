# `make demo` and `make test` each set up .venv first; a second run starts at once.

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
# The first interpreter on the PATH that is new enough; `make PYTHON=…` chooses another.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11 python3.10 python
PYTHON ?= $(firstword $(foreach p,$(PYTHONS),$(shell $(p) $(NEW_ENOUGH) && echo $(p))))
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(INSTALLED) ## make .venv, once, from the pins in constraints.txt

demo: $(INSTALLED) ## train a sparse U-Net on simulated scans and look at its predictions
	$(BIN)/gossamer demo

test: lint ## the linters, every test, and the GPU kernels in Triton's interpreter
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "interpreter or any_backend"

lint: $(INSTALLED) ## ruff and pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

format: $(INSTALLED) ## put the code into the form that `make test` wants
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.installed-bench ## measure this machine beside the peers; results go to benchmarks/
	$(BIN)/gossamer bench cpu --json benchmarks/cpu.json --plot benchmarks/cpu.png

clean: ## forget .venv and what the tools cached
	rm -rf $(VENV) runs dist build .pytest_cache .ruff_cache .hypothesis
	find gossamer tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first and alone: asked for by another package, pip may choose a build of several gigabytes.
$(INSTALLED): pyproject.toml constraints.txt gossamer/version.py
	@test -n "$(PYTHON)" || { echo "gossamer needs Python 3.10 or newer: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version), once. PyTorch is the long part."
	@$(BIN)/python $(NEW_ENOUGH) || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --constraint constraints.txt torch
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(INSTALLED)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@
