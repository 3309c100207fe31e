# Two commands do everything on a machine with Python 3.11 or newer: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-jax interop lint types audit clean

demo: .venv/train
	$(BIN)/python examples/demo.py --output demo

test: .venv/dev
	$(BIN)/python -m pytest -n auto -q

# The networks are keras.ops only: the same tests hold on JAX.
test-jax: .venv/dev
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n auto -q tests/models/test_tsp_rdanet.py tests/layers/test_attention.py tests/test_losses.py

# Exports where teams are tied to tensorflow-addons or TF-TRT; TensorFlow 2.15 needs Python 3.11.
INTEROP_PYTHON ?= python3.11
INTEROP := -m pytest -q -c tests/interop/pytest.ini $(addprefix tests/interop/test_,saved_models.py tftrt_contract.py)

interop: .venv/dev .venv-interop/ready .venv-interop-tf217/ready
	$(BIN)/python tests/interop/write_models.py build/interop
	.venv-interop/bin/python $(INTEROP) tests/interop/test_tensorflow_addons.py
	.venv-interop-tf217/bin/python $(INTEROP) tests/interop/test_tftrt_segments.py

.venv-%/ready: requirements/%.txt
	$(INTEROP_PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install -q -r $<
	touch $@

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

# Known vulnerabilities of the versions in constraints.txt; needs the network.
audit: .venv/dev
	$(BIN)/pip install -q pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

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
	rm -rf .venv .venv-interop* demo runs build dist *.egg-info
