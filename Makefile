# Every target does the set-up it needs; a second time that takes no time. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup run test chaos bench lint format types check lock clean

HOST ?= 127.0.0.1
PORT ?= 8000
WORKERS ?= 1

python := .venv/bin/python
SQLITE_SUITE := not (live or browser or redis or postgres)
# No database is touched here: once is enough (tests/test_architecture.py holds this list to that).
DATABASE_FREE := tests/clients tests/realtime/core tests/realtime/protocols tests/realtime/server \
	tests/realtime/connection tests/realtime/test_routing.py \
	tests/realtime/test_transcripts.py tests/test_architecture.py tests/test_requirements.py

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/dev ## Set everything up: packages, tools, and the services that the tests need
	@bin/setup services

run: .venv/runtime ## Serve on HOST:PORT (127.0.0.1:8000) with WORKERS (1); prints how to get in
	@exec $(python) manage.py serve --bootstrap --host $(HOST) --port $(PORT) --workers $(WORKERS)

test: .venv/dev ## Run every test: on SQLite, then on PostgreSQL, Redis and Chromium
	@bin/setup services
	@TEST_DATABASE=sqlite $(python) -m pytest -m "$(SQLITE_SUITE)"
	@TEST_DATABASE=postgres $(python) -m pytest $(addprefix --ignore=,$(DATABASE_FREE))

chaos: .venv/dev ## Kill, stall and cut off what there is, in full size (RELIABILITY: F-02 to F-26; ten minutes)
	@bin/setup services
	@CHAOS_FULL=1 TEST_DATABASE=postgres $(python) -m pytest -m chaos -n 0 --durations=20

bench: .venv/dev ## Measure edge agents, groups and topics: latency, drain, cost, memory (five minutes)
	@bin/setup services
	@$(python) -m bench.edge
	@$(python) -m bench.routing

lint: .venv/dev ## Check style and formatting (ruff)
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .

format: .venv/dev ## Put style and formatting right (ruff)
	@$(python) -m ruff check --fix .
	@$(python) -m ruff format .

types: .venv/dev ## Check types (mypy)
	@$(python) -m mypy

check: .venv/dev ## Check settings, migrations and the import rule
	@$(python) manage.py check --fail-level WARNING
	@$(python) manage.py makemigrations --check --dry-run
	@$(python) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

lock: .venv/dev ## Write the locks anew, from the *.in files, at the newest versions they allow
	@bin/setup lock

clean: ## Remove the virtual environment and what tools leave behind; never var/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov \
		tests/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/runtime: requirements.txt
	@bin/setup runtime

.venv/dev: requirements.txt requirements-dev.txt
	@bin/setup dev
