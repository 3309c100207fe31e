# Two commands do everything on a machine with Python 3.11 or newer: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-jax lint types clean

demo: .venv/train
	$(BIN)/python examples/demo.py --output demo

test: .venv/dev
	$(BIN)/python -m pytest -n auto -q

# The networks are keras.ops only: the same tests hold on JAX.
test-jax: .venv/dev
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n auto -q tests/models/test_tsp_rdanet.py tests/layers/test_attention.py tests/test_losses.py

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

# One environment; what a command needs is added to it when first asked for.
.venv/train: setup.cfg constraints.txt | .venv/bin/python
	PYTHONWARNINGS=ignore $(BIN)/pip install -q -c constraints.txt -e ".[train]"
	touch $@

.venv/dev: setup.cfg constraints.txt | .venv/bin/python
	PYTHONWARNINGS=ignore $(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	touch $@ .venv/train

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "On Debian: apt install python3-venv" >&2; exit 1; }
	$(BIN)/pip install -q --upgrade pip

clean:
	rm -rf .venv demo runs build dist *.egg-info
