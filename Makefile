# Everything sets itself up in .venv and needs nothing but python3 and make.
#   make book   execute every chapter and build the site; warnings are errors
#   make html   build the site from the committed outputs, in under a minute
#   make pdf    print the whole book: _build/the_information_in_a_task.pdf (needs Chromium)
#   make test   lint, types, unit tests, chapters and the site in a real browser
#   make mutants   plant faults behind every claim: its own tests must notice each of them
#   make lab    JupyterLab on the chapters
#   make rank   rank six tasks as starting points for lower-case Greek
#   make coursework   problem sets for students, for lecturers and for nbgrader, in _build/coursework
#   make lint   ruff and mypy only

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SITE := _build/html
WORKERS ?= 2
CHECKED := t2v tests scripts benchmarks book coursework

# One thread a test process, and idle threads sleep instead of spinning: with several processes the spinning costs minutes.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What is imported is compiled then, and kept; to compile all that is installed takes a minute more.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONWARNINGS ?= ignore::DeprecationWarning

# Else every kernel warns that its messages, which never leave this machine, are not encrypted.
QUIET_KERNELS := c.IPKernelApp.log_level = "ERROR"

BUILD := rm -rf $(SITE) && $(BIN)/jupyter-book build . --all -n -W --keep-going

.PHONY: help install book html pdf test mutants lint lab rank coursework clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

install: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -r requirements.txt
	@mkdir -p $(VENV)/etc/ipython
	@echo '$(QUIET_KERNELS)' > $(VENV)/etc/ipython/ipython_kernel_config.py
	@touch $@

book: $(STAMP)
	export BOOK_EXECUTE=force && $(BUILD)
	@echo "open $(SITE)/index.html"

html: $(STAMP)
	export BOOK_EXECUTE=off && $(BUILD)
	@echo "open $(SITE)/index.html"

pdf: html
	$(BIN)/python scripts/pdf.py

lint: $(STAMP)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy

# The longest first, or one worker is left with them while the others have nothing to do: the site's tests take minutes,
# a chapter up to one, the other files of tests seconds.
LONG_FIRST := tests/test_site.py tests/test_pdf.py tests/test_mutants.py

# The chapters run as a reader has them who downloads one: in a folder of their own, with t2v from its wheel alone.
# --dist loadfile keeps a file's tests together (a notebook has one kernel); files are shared out over the workers.
test: $(STAMP)
	+$(MAKE) --no-print-directory -j $(WORKERS) lint html
	reader=$$(mktemp -d) && trap 'rm -rf "$$reader"' EXIT && $(BIN)/python scripts/downloaded.py "$$reader" && \
	  JUPYTER_PATH="$$reader/share/jupyter" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -c pyproject.toml --rootdir=. \
	  $(LONG_FIRST) "$$reader/chapters" tests --nbval-lax -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15

# Two claims at a time; what was run before and has not changed is kept. The ledger's page shows the results.
mutants: $(STAMP)
	$(BIN)/python scripts/mutants.py

lab: $(STAMP)
	$(BIN)/jupyter lab --notebook-dir=book

rank: $(STAMP)
	$(BIN)/python -m t2v rank --target greek_lower \
	  --sources latin_lower cyrillic_lower hebrew arabic math_operators mnist

coursework: $(STAMP)
	$(BIN)/python -m coursework build

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
