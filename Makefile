PYTHON ?= python3
VENV := .venv
EXAMPLES := cocosnet_hf/assets/mask-to-image/examples
INSTALLED := $(VENV)/.installed
PYTEST := $(VENV)/bin/python -m pytest

.PHONY: venv example test test-slow test-all lint clean

venv: $(INSTALLED)

# torch comes first and pinned, so that resolving the rest never draws another build of it.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -c constraints.txt torch==2.13.0
	$(VENV)/bin/pip install -c constraints.txt -e .[demo,eval,export,preprocess,test,train]
	touch $@

example: venv
	$(VENV)/bin/python -m cocosnet_hf $(EXAMPLES)/layout.png $(EXAMPLES)/exemplar.png \
		--model mask-to-image --show -o out/example.png

# What every change needs. The two workers and their share of tests: see tests/conftest.py.
test: venv
	$(PYTEST) -n 2 --dist loadgroup -m "not slow and not gpu"

# Full-size networks, of which one at a time holds several GB, beside all other slow tests.
test-slow: venv
	$(PYTEST) -n 2 --dist loadgroup -m "slow and not gpu"

test-all: test test-slow

lint: venv
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy demo

clean:
	rm -rf $(VENV) build dist out .pytest_cache .ruff_cache .hypothesis *.egg-info
