# Every target sets itself up in .venv. A stamp file there says what is installed, so a second call installs nothing.

PYTHON ?= python3
ARGS ?=

# What `make bench` compares with; one that cannot be installed is left out. On Linux the plain torch brings gigabytes
# of GPU libraries, so there only a CPU build is taken, where pip finds one (PIP_FIND_LINKS).
PEERS ?= autograd jax torch==2.13.0$(if $(filter Linux,$(shell uname -s)),+cpu)
# What `make conformance` wants besides: pytest and SciPy, xarray for some tests of autograd's, expecttest for PyTorch's samples.
JUDGES ?= pytest scipy xarray expecttest

EXTRAS_train := cluster
EXTRAS_test := cluster,dev
EXTRAS_bench := cluster,bench
EXTRAS_conformance := bench

PY := .venv/bin/python
# Ray splits the path of its Python at blanks: in a checkout that has one in its path, Python is called through a link.
LINK = $(or $(TMPDIR),/tmp)/retape-$(shell id -u)-$(shell pwd -P | cksum | cut -d' ' -f1)
RUN = $(if $(word 2,$(CURDIR)),$(shell ln -sfn "$$(pwd -P)/.venv" "$(LINK)")$(LINK)/bin/python,$(PY))
# Twice quiet: pip says only what went wrong.
PIP_INSTALL := $(PY) -m pip install --quiet --quiet

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Settings of the caller's shell that would send an install, or an import, past .venv.
unexport PYTHONHOME PYTHONPATH PIP_PREFIX PIP_TARGET PIP_USER

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help train test test-slow bench conformance lint docs wheel clean

help: ## show this list
	@echo "usage: make TARGET [ARGS=\"...\"]   e.g. make train ARGS=\"--help\""
	@echo
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  %-11s  %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "PYTHON=python3.12 chooses the Python (3.11 or newer) that .venv is made with; make clean first to change it."

train: .venv/.installed-train ## train the language model on Ray (ARGS: options of cluster/train.py)
	@$(RUN) cluster/train.py $(ARGS)

test: .venv/.installed-test ## run the tests, without the slow ones, on all cores (ARGS: pytest's; -n0 runs them one by one)
	@$(RUN) -P -m pytest -m "not slow" -n logical --dist loadgroup $(ARGS)

test-slow: .venv/.installed-test ## run the slow tests (ARGS: pytest's)
	@$(RUN) -P -m pytest -m slow $(ARGS)

bench: .venv/.installed-bench ## print the benchmark tables, peers side by side (ARGS: options of benchmarks/run.py)
	@$(PY) benchmarks/run.py $(ARGS)

conformance: .venv/.installed-conformance ## compare derivatives with the field's tests and samples (ARGS: options of its run.py)
	@$(PY) benchmarks/conformance/run.py $(ARGS)

lint: .venv/.installed-test ## check style (ruff), types (pyright) and layers (import-linter)
	@$(PY) -m ruff check .
	@$(PY) -m pyright --pythonpath $(PY)
	@.venv/bin/lint-imports --no-logo

docs: .venv/.installed-test ## write docs/coverage.md, what of NumPy is differentiated (ARGS: options of its command)
	@$(RUN) -P -m retape.runtime.coverage --write docs/coverage.md $(ARGS)

wheel: .venv/.made-in ## build the wheel into dist/
	@rm -rf build  # setuptools would pack what an older build left there
	@$(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .
	@rm -rf build
	@ls dist/*.whl

clean: ## remove .venv, built files and caches (runs/ stays)
	rm -f "$(LINK)"
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed-%: .venv/.made-in pyproject.toml
	@echo "Installing retape[$(EXTRAS_$*)] into .venv; the first time takes some minutes."
	@$(PIP_INSTALL) --editable '.[$(EXTRAS_$*)]'
	@$(if $(filter bench conformance,$*),for peer in $(PEERS) $(if $(filter conformance,$*),$(JUDGES)); do \
	    $(PIP_INSTALL) "$$peer" 2>/dev/null || echo "$*: $$peer cannot be installed here; what needs it is left out."; \
	done)
	@touch $@

# A virtual environment holds absolute paths: one that came along with a moved checkout is made anew.
ifneq ($(shell [ -x $(PY) ] && cat .venv/.made-in 2>/dev/null),$(shell pwd -P))
.PHONY: .venv/.made-in
endif

.venv/.made-in:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "retape needs Python 3.11 or newer, and '$(PYTHON)' is $$(command -v "$(PYTHON)" >/dev/null && \
	        "$(PYTHON)" --version 2>&1 || echo 'not there')."; \
	    echo "Name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; \
	    exit 1; } >&2
	@if [ -e $@ ] || ! $(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
	        "$(PYTHON)" -m venv --clear .venv; \
	    else \
	        "$(PYTHON)" -m venv --clear --without-pip .venv && \
	        "$(PYTHON)" -m pip --python $(PY) install --quiet pip; \
	    fi || { \
	        echo "'$(PYTHON)' cannot make a virtual environment: its venv or pip is missing."; \
	        echo "On Debian and Ubuntu: apt install python3-venv"; \
	        exit 1; } >&2; \
	fi
	@pwd -P > $@
