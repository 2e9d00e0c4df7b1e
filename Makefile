# Two commands do everything: make train, make test. Recipes quote nothing that
# depends on the folder's own path, so spaces in it are fine.
PYTHON ?= python3
RUN ?= runs/mini_ds
export PYTHONUNBUFFERED = 1
# The machine's own user site must not leak into the pinned set.
export PYTHONNOUSERSITE = 1

.PHONY: help train test lint unit notebooks lab book browser data install clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

train: data  ## train mini_ds on the embedded data, evaluate it, show the table
	.venv/bin/loftr-nb train mini_ds --out "$(RUN)" --resume

test: lint unit notebooks  ## everything: lint, unit tests, notebooks

lint: install  ## ruff: errors, import order, layout
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

unit: data  ## unit tests; installs chromium for the browser test where it may
	.ci/browser
	.venv/bin/python -m pytest tests

notebooks: data  ## run every notebook and compare its key numbers
	LOFTR_NB_QUICK=1 LOFTR_NB_STATIC=1 .venv/bin/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 600 notebooks

lab: data  ## JupyterLab on the notebooks
	.venv/bin/jupyter lab --notebook-dir notebooks

book: .venv-book/installed  ## build/book: the notebooks as a site, as they are stored
	.venv-book/bin/python .ci/book/build.py

# A place of its own: the site needs no PyTorch, and training needs no Sphinx.
.venv-book/installed: .ci/book/requirements.txt
	.ci/venv .venv-book "$(PYTHON)"
	.venv-book/bin/python -m pip install -q --disable-pip-version-check -r .ci/book/requirements.txt
	@touch .venv-book/installed

browser: data  ## every notebook in JupyterLab in Chromium, screenshots in build/looks
	.ci/browser
	.venv/bin/python tests/browser_notebooks.py --out build/looks

data: install  ## render the embedded data into data/mini
	.venv/bin/loftr-nb data mini --out data/mini

install: .venv/installed  ## create .venv with the pinned packages

.venv/installed: pyproject.toml constraints.txt .ci/install .ci/venv
	.ci/install "$(PYTHON)"
	@touch .venv/installed

clean:  ## remove .venv, the book and the embedded data; runs are kept
	rm -rf .venv .venv-book data/mini build *.egg-info
