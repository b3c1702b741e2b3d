PYTHON ?= python3
VENV := .venv
EXAMPLES := cocosnet_hf/assets/mask-to-image/examples
INSTALLED := $(VENV)/.installed

.PHONY: venv example test lint clean

venv: $(INSTALLED)

# torch comes first and pinned, so that resolving the rest never draws another build of it.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -c constraints.txt torch==2.13.0
	$(VENV)/bin/pip install -c constraints.txt -e .[demo,eval,preprocess,test,train]
	touch $@

example: venv
	$(VENV)/bin/python -m cocosnet_hf $(EXAMPLES)/layout.png $(EXAMPLES)/exemplar.png \
		--model mask-to-image --show -o out/example.png

test: venv
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadgroup -m "not gpu"

lint: venv
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

clean:
	rm -rf $(VENV) build dist out .pytest_cache .ruff_cache .hypothesis *.egg-info
