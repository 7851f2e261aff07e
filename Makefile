# `make help` lists the targets. Everything is installed into $(VENV), made on first use by an interpreter
# that is 3.11 or newer; set PYTHON to choose it. PYTEST and DEMO pass arguments on,
# WORKERS is how many processes test.

VENV ?= .venv
PYTHON ?=
TORCH_SPEC ?= torch==2.13.0
CONFIG ?= configs/bbc_minilm.py
WORKDIR ?= runs/demo
DEMO ?=
PYTEST ?=
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
REQUIREMENTS := pyproject.toml constraints.txt

# Compiled programs are shared by the tests and processes of one run, and by no other run.
WITH_CACHE = cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && \
	JAX_COMPILATION_CACHE_DIR="$$cache" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test lint format parity bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(BIN)/python:
	@chosen=; \
	for candidate in $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    chosen="$$candidate"; break; fi; done; \
	if [ -z "$$chosen" ]; then \
	  echo "no Python >= 3.11 with venv found (tried: $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python));" \
	    "install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi; \
	echo "making $(VENV) with $$("$$chosen" --version)"; "$$chosen" -m venv "$(VENV)"

$(VENV)/.installed: $(REQUIREMENTS) | $(BIN)/python
	@echo "installing jaxtransfer into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing the development tools into $(VENV)"
	@$(PIP) -e '.[dev]'
	@touch $@

# torch comes first and by itself, so that no other package's range picks a different build of it.
$(VENV)/.installed-parity: $(VENV)/.installed-dev
	@echo "installing $(TORCH_SPEC) and the peer libraries into $(VENV)"
	@$(PIP) '$(TORCH_SPEC)'
	@$(PIP) '$(TORCH_SPEC)' -e '.[parity]'
	@touch $@

install: $(VENV)/.installed ## make .venv and install the package into it

demo: $(VENV)/.installed ## adapt MiniLM to BBC news, 50 labels, and write the evidence to runs/demo
	$(BIN)/jaxtransfer ladder --config $(CONFIG) --workdir $(WORKDIR) $(DEMO)

test: $(VENV)/.installed-dev ## run the tests (PYTEST='-k lora' passes arguments on)
	@$(WITH_CACHE) $(BIN)/python -m pytest -n $(WORKERS) -m 'not parity' $(PYTEST)

lint: $(VENV)/.installed-dev ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## format the code and apply the lint's safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

parity: $(VENV)/.installed-parity ## compare with torch, transformers and peft (TORCH_SPEC chooses the torch)
	@$(WITH_CACHE) $(BIN)/python -m pytest -m parity $(PYTEST)

bench: $(VENV)/.installed-parity ## time against transformers + peft; writes experiments/benchmarks/results
	$(BIN)/python experiments/benchmarks/peers.py

clean: ## remove .venv and caches (runs/ stays)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
