# Every target makes the environment that it needs in .venv.
PYTHON := .venv/bin/python

.PHONY: test lint types mini clean

test:
	scripts/setup dev
	$(PYTHON) -m pytest

lint:
	scripts/setup dev
	.venv/bin/ruff check

types:
	scripts/setup dev
	.venv/bin/mypy

# Train the model that ships inside the package anew.
mini:
	scripts/setup dev
	$(PYTHON) -m soundloom.training.mini --work mini-work

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist
