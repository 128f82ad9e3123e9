# Everything runs in .venv, which `make install` makes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SEED ?=

.PHONY: install quickstart test check bench clean

# torch is named so that a machine without a GPU takes the CPU build where one is at hand.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 -e ".[dev]"
	@touch $@

install: $(VENV)/installed

quickstart: install
	$(BIN)/e2h run quickstart --scale tiny $(if $(SEED),--seed $(SEED))

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks.decoding
	$(BIN)/python -m benchmarks.voting
	$(BIN)/python -m benchmarks.grading

clean:
	rm -rf runs build dist .pytest_cache .mypy_cache .ruff_cache
