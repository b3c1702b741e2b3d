PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: venv example test lint clean

venv: $(INSTALLED)

# torch comes first and pinned, so that resolving the rest never draws another build of it.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -c constraints.txt torch==2.13.0
	$(VENV)/bin/pip install -c constraints.txt -e .[preprocess,test,train]
	touch $@

example: venv
	$(VENV)/bin/python tests/make_tiny_pipeline.py --run out/

test: venv
	$(VENV)/bin/python -m pytest -m "not gpu"

lint: venv
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

clean:
	rm -rf $(VENV) build dist out .pytest_cache .ruff_cache .hypothesis *.egg-info
