# `make demo` and `make test` work in a fresh clone; the environment is made on first use.

VENV ?= .venv
PYTHON ?= python3
# Further options for the installation of torch, for example --index-url for the build of another device.
TORCH_ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# No chore needs a model hub: the starter checkpoint is a package, the test models are made in memory.
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format types layers unit real coverage docs wheel constraints clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch comes first and alone, so that no other package brings a larger build of it.
$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch $(TORCH_ARGS)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

install: $(READY)  ## Make the environment (.venv) and install easytx with its tools

demo: $(READY)  ## Train, evaluate, save, load and predict on the bundled samples
	$(BIN)/python -m easytx.cli.demo

# Each test computes in one thread, so that there is a core for each process.
test: lint types  ## Run everything: lint, types, layers and all tests
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(READY)  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## Format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)  ## Check the types of easytx
	$(BIN)/mypy

layers: $(READY)  ## Check which module imports which
	$(BIN)/lint-imports --no-logo

unit: $(READY)  ## Run the fast tests only
	$(BIN)/python -m pytest -m 'not real'

real: $(READY)  ## Run the tests on the starter checkpoint and real data
	$(BIN)/python -m pytest -m real

coverage: $(READY)  ## Run all tests and list the lines that none of them runs
	$(BIN)/python -m pytest --cov

docs: $(READY)  ## Write the reference of the arguments and build the documentation into docs/site
	$(BIN)/python docs/build_reference.py
	$(BIN)/zensical build --config-file docs/zensical.toml --clean --strict

wheel: $(READY)  ## Build the wheel into dist and check what is in it
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m zipfile --list dist/easytx-*.whl > dist/contents.txt
	grep 'easytx/py.typed' dist/contents.txt
	grep 'easytx/data/samples/' dist/contents.txt

constraints: $(READY)  ## Write the installed versions into constraints.txt
	@grep '^#' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/^\(torch==[^+]*\)+.*/\1/' >> $(VENV)/constraints.txt
	@cp $(VENV)/constraints.txt constraints.txt
	@touch $(READY)

clean:  ## Remove caches and builds; keep the environment and trained models
	rm -rf build dist docs/site docs/.cache *.egg-info .coverage
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find easytx tests -name __pycache__ -prune -exec rm -rf {} +
