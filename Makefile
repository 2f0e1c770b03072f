# make install | demo | test | test-long | lint | docs | bench | torture: each sets up what it needs in
# .venv, what running needs (some 900 MB) or all that developing needs (some 3.4 GB), once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without build isolation the constraints hold for what builds the package, too.
INSTALL := pip install --disable-pip-version-check --no-build-isolation -c constraints.txt
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.tools
# What tests compile, Python's bytecode included, is kept for the next one that needs it (tests of
# exactness compile their own).
COMPILED := PYTHONDONTWRITEBYTECODE= JAX_COMPILATION_CACHE_DIR=$(CURDIR)/$(VENV)/compiled \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.05 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

# XLA's effort to make fast what runs once was most of the time of tests.
QUICKLY := XLA_FLAGS="--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_parallel_codegen_split_count=1"

PYTEST := $(BIN)/pytest -n 2 --dist worksteal
# A process that has several CPU devices sums in another order than one that has one.
FOUR := JAX_NUM_CPU_DEVICES=4
AT_LENGTH := --hypothesis-profile=long

.PHONY: install demo test test-long lint docs bench torture clean
.DEFAULT_GOAL := demo

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/reprise demo

test: $(TOOLS)
	$(COMPILED) $(PYTEST) -m "users_bits and not long"
	$(COMPILED) $(QUICKLY) $(FOUR) $(PYTEST) tests/mesh -m "mesh and not long"
	$(COMPILED) $(QUICKLY) $(PYTEST) -m "not users_bits and not mesh and not long"

test-long: $(TOOLS)
	$(COMPILED) $(PYTEST) $(AT_LENGTH) -m "users_bits and (long or hypothesis)"
	$(COMPILED) $(QUICKLY) $(FOUR) $(PYTEST) tests/mesh $(AT_LENGTH) -m "mesh and (long or hypothesis)"
	$(COMPILED) $(QUICKLY) $(PYTEST) $(AT_LENGTH) \
		-m "not users_bits and not mesh and (long or hypothesis)"
	$(BIN)/python benchmarks/torture.py --models ComiRec-SA ComiRec-DR --kills 60

lint: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks/train.py

docs: $(INSTALLED)
	$(BIN)/python -m reprise.cli.reference > docs/commands.md
	$(BIN)/python -m reprise.text.compiled

bench: $(TOOLS)
	$(BIN)/python benchmarks/step.py --rounds 3
	$(BIN)/python benchmarks/catalogue.py
	$(BIN)/python benchmarks/optimizers.py
	$(BIN)/python benchmarks/features.py --turns 100
	$(BIN)/python benchmarks/batches.py
	$(BIN)/python benchmarks/evaluate.py
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/memory.py --shapes books taobao
	$(BIN)/python benchmarks/history.py

torture: $(TOOLS)
	$(BIN)/python benchmarks/torture.py $(TORTURE)

clean:
	rm -rf $(VENV) demo

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Reprise needs Python 3.11 or newer: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m $(INSTALL) hatchling editables
	$(BIN)/python -m $(INSTALL) -e '.[serve]'
	touch $@

$(TOOLS): $(INSTALLED)
	$(BIN)/python -m $(INSTALL) -e '.[dev,tf]'
	touch $@
