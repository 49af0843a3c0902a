# make install | install-all | demo | test | lint | format
# Python 3.11 or newer is looked for as $(PYTHON), python3.11, python3.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install install-all demo test conformance lint format clean

BIN := .venv/bin

help:
	@echo "make install      make .venv with everything that the service and its tests need"
	@echo "make install-all  the same, and ExecuTorch and the PostgreSQL driver"
	@echo "make demo         a real search on handwritten digits, from HTTP to a checked ONNX file, in ./demo"
	@echo "make test         lint, types, import contracts, tests"
	@echo "make conformance  every option of every block, more networks of every space: about 15 min"
	@echo "make lint         the same without the tests"
	@echo "make format       let ruff rewrite the sources"
	@echo "make clean        remove .venv, ./demo and the caches"

install:
	@scripts/install.sh dev,openvino

install-all:
	@scripts/install.sh dev,openvino,executorch,postgres

demo: install
	@$(BIN)/python examples/demo.py

lint: install
	@echo "ruff check" && $(BIN)/python -m ruff check --quiet .
	@echo "ruff format --check" && $(BIN)/python -m ruff format --check --quiet .
	@echo "mypy --strict" && $(BIN)/python -m mypy
	@echo "lint-imports" && $(BIN)/lint-imports --no-logo

# pytest last: its summary is the last line; one process a file, for many tests wait for processes of their own
test: lint
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

conformance: install
	@CONFORMANCE=full $(BIN)/python -m pytest tests/test_conformance.py

format: install
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

clean:
	rm -rf .venv demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
