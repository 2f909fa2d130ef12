SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
PORT ?= 8000
SERVE ?= 1
BIN := .venv/bin
CHECK_ENV := KEYFARE_ENV_FILE=none SECRET_KEY=unused-by-checks KEYFARE_MASTER_KEYS=only-for-make-check-0123456789abcdef KEYFARE_DIGEST_KEY=only-for-make-check-fedcba9876543210 DATABASE_URL=sqlite:///:memory:
COVERED := billing/*,usage/*,providers/custody/*
# Whatever does more where it may take longer.
LONG = tests/security $(shell grep -rl --include='*.py' 'security.budget' tests)
# Three on two cores: much of the suite waits, for processes, browsers and time-outs.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal

.PHONY: help demo test test-security coverage audit check format lock

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# Dependencies go in anew whenever a lock file changes; all output to standard error.
.venv/base: requirements/base.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Keyfare needs Python 3.11 or newer; choose one with PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python requirements/install.py requirements/base.txt
	@touch $@

.venv/dev: requirements/dev.txt .venv/base
	@$(BIN)/python requirements/install.py requirements/dev.txt
	@touch $@

.venv/audit: requirements/audit.txt .venv/dev
	@$(BIN)/python requirements/install.py requirements/audit.txt
	@touch $@

demo: .venv/base ## The main job on simulated providers, then the product on PORT (SERVE=0: exit after the summary)
	@unset DATABASE_URL; KEYFARE_ENV_FILE="$(CURDIR)/var/demo/keyfare.env" exec $(BIN)/python manage.py demo --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

test: .venv/dev ## All tests, on SQLite and, where a database has a part in it, on PostgreSQL (yours by DATABASE_URL, else one by pip)
	$(PYTEST)
	KEYFARE_TEST_DATABASE=postgresql $(PYTEST)

test-security: .venv/dev ## The long tests in full, of security (docs/security.md), upgrade and installation, on both databases
	KEYFARE_SECURITY_BUDGET=full $(PYTEST) $(LONG)
	KEYFARE_SECURITY_BUDGET=full KEYFARE_TEST_DATABASE=postgresql $(PYTEST) $(LONG)

coverage: .venv/dev ## Which lines and branches the tests of both databases run; first those of money, metering and custody
	$(PYTEST) --cov --cov-report=
	KEYFARE_TEST_DATABASE=postgresql $(PYTEST) --cov --cov-append --cov-report=
	$(BIN)/coverage report --include='$(COVERED)' --show-missing --skip-covered
	$(BIN)/coverage report --skip-covered

audit: .venv/audit ## Known vulnerabilities of what is installed; a package that cannot be looked up is a failure
	$(BIN)/pip-audit --strict --require-hashes --disable-pip $(foreach lock,base dev audit,-r requirements/$(lock).txt)

check: .venv/dev ## Lint, format, types, layers, templates, Django's own checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache
	git ls-files -co --exclude-standard -- 'templates/*.html' 'templates/**/*.html' | xargs $(BIN)/djade --target-version 5.2 --check
	$(CHECK_ENV) $(BIN)/python manage.py check --fail-level WARNING
	$(CHECK_ENV) $(BIN)/python manage.py makemigrations --check --dry-run

format: .venv/dev ## Put code and templates into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files -co --exclude-standard -- 'templates/*.html' 'templates/**/*.html' | xargs $(BIN)/djade --target-version 5.2

lock: .venv/dev ## Renew requirements/*.txt: for all supported Pythons, with hashes, without any index address
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade -o requirements/base.txt
	$(BIN)/uv pip compile pyproject.toml --extra otel -c requirements/base.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade -o requirements/otel.txt
	$(BIN)/uv pip compile pyproject.toml --extra parquet -c requirements/base.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade -o requirements/parquet.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra otel --extra parquet -c requirements/base.txt -c requirements/otel.txt -c requirements/parquet.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade -o requirements/dev.txt
	$(BIN)/uv pip compile pyproject.toml --extra audit -c requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade -o requirements/audit.txt
