# Every target first sets up .venv.
PYTHON := .venv/bin/python

.PHONY: test slow browser clients lint types docs mini clean

test:
	scripts/setup dev
	$(PYTHON) -m pytest

# The tests that `make test` skips: pages of the docs, damaged files, killed processes.
slow:
	scripts/setup dev
	$(PYTHON) -m pytest -m "slow and not browser"

# The tests of the studio and of report pages, in Chromium, with the checks of its scripts by TypeScript and eslint.
browser:
	scripts/setup dev
	scripts/setup-browser
	$(PYTHON) -m pytest -m "" tests/studio $(FLAGS)
	$(PYTHON) -m pytest -m "" tests/evaluation/reports/test_page.py $(FLAGS)

# Other projects' clients of the server and ComfyUI, fetched from GitHub at the commits in tests/fetched.py.
clients:
	scripts/setup dev
	SOUNDLOOM_CLIENTS=fetch $(PYTHON) -m pytest -rs -m "" tests/serving/dialects/test_clients.py tests/integrations

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

# Retrain the bundled model; post-training runs if the recipe has it.
MINI_POST := $(if $(wildcard configs/mini/post.toml),post)
mini:
	scripts/setup dev
	for stage in tokenizer autoencoder encode text dit distill $(MINI_POST); do \
	  $(PYTHON) -m soundloom train $$stage configs/mini --work mini-work || exit; \
	done
	$(PYTHON) -m soundloom train export configs/mini --work mini-work --out src/soundloom/models/mini

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist site
