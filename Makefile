# Every target makes the environment that it needs in .venv.
PYTHON := .venv/bin/python

.PHONY: test slow lint types docs mini clean

test:
	scripts/setup dev
	$(PYTHON) -m pytest

# What `make test` leaves out: pages of the docs, thousands of damaged files, kills at every step.
slow:
	scripts/setup dev
	$(PYTHON) -m pytest -m slow

lint:
	scripts/setup dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types:
	scripts/setup dev
	.venv/bin/mypy

# Build the documentation site into site/; a broken link or a name without a docstring fails.
docs:
	scripts/setup dev
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

# Train the model that ships inside the package anew; post-training happens where the recipe has it.
MINI_POST := $(if $(wildcard configs/mini/post.toml),post)
mini:
	scripts/setup dev
	for stage in tokenizer autoencoder encode text dit distill $(MINI_POST); do \
	  $(PYTHON) -m soundloom train $$stage configs/mini --work mini-work || exit; \
	done
	$(PYTHON) -m soundloom train export configs/mini --work mini-work --out src/soundloom/models/mini

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist site
