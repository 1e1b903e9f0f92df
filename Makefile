# make run    the whole portal on http://127.0.0.1:8000 (PORT=, SANDBOX_PORT= change the ports)
# make test   everything the tests need, then lint and all tests
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run xmpp test lint format bench fuzz screenshots

PORT ?= 8000
SANDBOX_PORT ?= 8100
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --root-user-action=ignore
PROSODY := prosody prosody-modules lua-bitop lua-bit32 lua-event lua-posix lua-readline lua-unbound
export PORT SANDBOX_PORT

help:
	@echo "make run      the whole portal with demo data on http://127.0.0.1:$(PORT); Ctrl-C stops it"
	@echo "make xmpp     beside it a Prosody, with which users of the demo have XMPP; Ctrl-C stops it"
	@echo "make test     installs what the tests need, then lint and all tests"
	@echo "make lint     ruff, mypy, import rules, migrations, system checks, pip-audit"
	@echo "make format   formats the code"
	@echo "make fuzz     the tests with generated input, 10,000 examples each (FUZZ_EXAMPLES=)"
	@echo "make screenshots  makes the pictures of docs/staff-site.md anew (ONLY=names for some)"
	@echo "make bench    runs benchmarks/ (BENCH=name for one) on a private PostgreSQL and Redis"

run: $(VENV)/run.stamp
	@exec $(BIN)/python manage.py runstack --port $(PORT) --sandbox-port $(SANDBOX_PORT)

xmpp: $(VENV)/run.stamp
	@scripts/debian-packages $(PROSODY) go-sendxmpp
	@PYTHONPATH=. $(BIN)/python scripts/demo_xmpp.py

test: lint
	@scripts/debian-packages postgresql redis-server rabbitmq-server nginx systemd chromium curl slapd ldap-utils \
		$(PROSODY) go-sendxmpp sendxmpp ejabberd
	@echo "== all tests on PostgreSQL and Redis"
	@scripts/with-services $(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)
	@echo "== tests of real workers and stacks with RabbitMQ as broker"
	@scripts/with-services --rabbitmq $(BIN)/python -m pytest -n 2 -m broker $(PYTEST_ARGS)
	@echo "== core tests on the embedded default (SQLite, broker in a folder)"
	@env -u DATABASE_URL -u REDIS_URL -u CELERY_BROKER_URL $(BIN)/python -m pytest -n 2 -m core $(PYTEST_ARGS)

lint: export DEBUG = 1
lint: $(VENV)/dev.stamp
	@echo "== lint"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy portal presence cpaas xmpp sandbox
	@$(BIN)/lint-imports --no-cache >var/lint-imports.txt || { cat var/lint-imports.txt; exit 1; }
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/python manage.py check
	@scripts/audit-packages $(BIN)/python

fuzz: export FUZZ_EXAMPLES ?= 10000
fuzz: $(VENV)/dev.stamp
	@scripts/debian-packages postgresql redis-server
	@scripts/with-services $(BIN)/python -m pytest -n 2 -m fuzz $(PYTEST_ARGS)

format: $(VENV)/dev.stamp
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format .

screenshots: $(VENV)/dev.stamp
	@scripts/debian-packages chromium
	@env -u DATABASE_URL -u REDIS_URL -u CELERY_BROKER_URL PYTHONPATH=. $(BIN)/python scripts/screenshots.py $(ONLY)

bench: $(VENV)/dev.stamp
	@scripts/debian-packages postgresql redis-server wrk kannel
	@for file in benchmarks/$(or $(BENCH),[a-z]*).py; do \
		echo "== $$file"; PYTHONPATH=. scripts/with-services $(BIN)/python "$$file"; done

$(BIN)/python:
	@scripts/make-venv $(VENV)

$(VENV)/run.stamp: requirements.txt constraints.txt | $(BIN)/python
	@echo "installing the portal's packages (about a minute the first time)"
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	@echo "installing the packages for tests and lint"
	@$(PIP) -r requirements-dev.txt
	@mkdir -p var
	@touch $@
