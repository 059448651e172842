# make repro   set up .venv and run the pipeline          make lint      style, types, imports
# make test    set up .venv and run the tests             make test-all  the slow tests too
.DEFAULT_GOAL := help
.PHONY: help venv repro test test-all lint clean docs/result.svg

PYTHON ?= python3.11
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed

# On Linux the torch of PyPI brings the CUDA libraries (gigabytes). To install a CPU build instead:
#   make repro TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

# The stages of dvc.yaml call `strata` by its name, so the environment comes first on the path.
export PATH := $(BIN):$(PATH)

help:
	@sed -n '1,2p' Makefile

venv: $(STAMP)

# Python byte code is compiled when a module is first imported, not for all packages here: it halves the wait.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[all,dev]'
	@touch $@

repro: $(STAMP)
	$(BIN)/dvc repro

# The README's picture, of the last run of the pipeline.
docs/result.svg: $(STAMP)
	$(BIN)/strata report --picture $@ --plot ase_g2/zero_point_energy --plot emt_alloys/formation_energy

# One process per core, four at most (each holds torch and TensorFlow); a file of tests runs in one of them, in
# the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(STAMP)
	$(PYTEST)

# Counting covered branches costs a third of the time, so that it is done here alone; fail_under in
# pyproject.toml is the least that passes.
test-all: $(STAMP)
	$(PYTEST) -m 'slow or not slow' --cov --cov-report=term

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

# Removes what can be made again; the store and the DVC cache stay.
clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
