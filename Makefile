# audio2img: everything here works with git, make and Python 3.10-3.13 alone.
PYTHON ?= python3
VENV   ?= .venv
PARITY ?= .venv-parity
BIN    := $(VENV)/bin
PBIN   := $(PARITY)/bin
JOBS   ?= 2
PREFIX ?= $(HOME)/.local
PIP    := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo models install uninstall shortcuts test test-fast test-parity lint bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "audio2img needs Python 3.10-3.13; run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Preparing $(VENV) (once, about a minute) ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@$(BIN)/python $(PIP) --editable '.[dev]'
	@touch $@

$(PARITY)/.ready: pyproject.toml
	@echo "Preparing $(PARITY) (once, several minutes: it brings torch) ..." >&2
	@$(PYTHON) -m venv $(PARITY)
	@$(PBIN)/python $(PIP) torch==2.13.0
	@$(PBIN)/python $(PIP) --editable '.[dev,train,diffusers]'
	@touch $@

demo: $(VENV)/.ready ## A spoken sentence becomes a picture, offline, with the embedded models
	@$(BIN)/audio2img demo --output pictures

models: $(VENV)/.ready ## Get this machine's default models (shows what, how large, which licence)
	@$(BIN)/audio2img models get default $(ARGS)

install: ## The command audio2img on your PATH (PREFIX=~/.local, EXTRAS=diffusers, WAY=uv|pipx|venv, TORCH_INDEX=URL)
	@$(PYTHON) scripts/install.py install --prefix "$(PREFIX)" --way "$(or $(WAY),auto)" \
	  --extras "$(EXTRAS)" --torch-index "$(TORCH_INDEX)"

uninstall: ## Remove what make install and make shortcuts made, and nothing else
	@if [ -x $(BIN)/audio2img ]; then $(BIN)/audio2img actions uninstall --quiet >&2 || true; fi
	@$(PYTHON) scripts/install.py uninstall --prefix "$(PREFIX)"

shortcuts: ## Quick Actions and Shortcuts on this Mac (DEST=FOLDER only writes them there)
	@command="$(PREFIX)/bin/audio2img"; \
	if [ ! -x "$$command" ]; then \
	  $(MAKE) --silent $(VENV)/.ready >&2 && command="$(BIN)/audio2img" || exit; \
	fi; \
	"$$command" actions install $(if $(DEST),--dest "$(DEST)") $(ARGS)

test: $(VENV)/.ready-dev ## All tests that need no torch
	@$(BIN)/python -m pytest -n $(JOBS) --ignore=tests/parity

test-fast: $(VENV)/.ready-dev ## The quick part of the tests
	@$(BIN)/python -m pytest -n $(JOBS) --ignore=tests/parity -m 'not slow'

test-parity: $(PARITY)/.ready ## What compares with torch, diffusers, transformers and coremltools
	@$(PBIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder tests/parity

lint: $(VENV)/.ready-dev ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(PARITY)/.ready ## Ratios against the bare engines, torch and ffmpeg
	@$(PBIN)/python scripts/benchmark.py

clean: ## Remove what make made here
	rm -rf $(VENV) $(PARITY) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
