# Works on a bare clone with Python 3.10 or newer, git and make. Everything lands in .venv and is removed by `make clean`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
TESTS    ?= tests examples
COVERAGE ?= 95
PIP    := $(BIN)/python -m pip --disable-pip-version-check
WHEEL  := build/wheel

# Without a GPU the CPU build of torch saves gigabytes. Where its index does not answer, pip's own settings decide.
CPU_INDEX   := https://download.pytorch.org/whl/cpu
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || { curl -fsI -m 5 $(CPU_INDEX)/torch/ >/dev/null 2>&1 && echo $(CPU_INDEX); })

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit wheel soak bench format clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/'

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "searchkit needs Python 3.10 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	$(PIP) install --quiet --constraint constraints.txt --editable '.[cli,offline,eval]'
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.stamp-demo

demo: $(VENV)/.stamp-demo ## index the standard library's documentation and answer three questions
	$(BIN)/searchkit demo --judgments tests/data/stdlib

test: lint unit ## everything that CI runs

lint: $(VENV)/.stamp-dev ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests import the package as a user gets it: from the built wheel, put before the checkout on the path.
wheel: $(VENV)/.stamp-dev
	@rm -rf build/dist $(WHEEL)
	$(BIN)/python -m build --quiet --wheel --no-isolation --outdir build/dist .
	$(PIP) install --quiet --no-deps --target $(WHEEL) build/dist/*.whl

unit: wheel ## all tests and notebooks, against the built wheel
	PYTHONPATH=$(CURDIR)/$(WHEEL) SEARCHKIT_WHEEL=$(CURDIR)/$(WHEEL) \
		$(BIN)/pytest --cov --cov-report=term --cov-fail-under=$(COVERAGE) --nbmake --nbmake-timeout=300 $(TESTS)

# The same tests as in `make test`, at their full counts. They promise times, so the machine should have nothing else to do.
soak: wheel ## faults and crashes at full counts; takes long
	PYTHONPATH=$(CURDIR)/$(WHEEL) SEARCHKIT_WHEEL=$(CURDIR)/$(WHEEL) $(BIN)/pytest -m soak --soak -s tests

bench: $(VENV)/.stamp-dev ## the project's own benchmarks; JSON under benchmarks/results/
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/packing.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/search.py

format: $(VENV)/.stamp-dev ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove everything that make built
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
