# rtchat's chores; `make` alone lists them.
#
# PYTHON   the Python that makes the environment (3.10 or newer)
# VENV     where the environment goes
# CONFIG   a chat.ini for `make run`
# ARGS     more arguments for pytest or the benchmark, e.g. make test ARGS='-k parser'
# GATEWAY_ARGS  more arguments for the gateway's benchmark, which `make bench` runs as well; of
#          the two only the one that has arguments is run, if one has

PYTHON ?= python3
VENV ?= .venv
CONFIG ?=
ARGS ?=
GATEWAY_ARGS ?=
BIN := $(VENV)/bin
CLIENTS := $(VENV)/clients
# A worker process for each core; the tests of a file run in one worker, with the server and the
# browser that they share.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# The files whose change makes an installed environment stale.
RECIPE := pyproject.toml rtchat/__init__.py

.DEFAULT_GOAL := help
.PHONY: help run test soak fuzz coverage check needs bench bench-peers clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.installed ## Start the server (CONFIG=chat.ini to use a configuration of yours)
	@exec $(BIN)/twistd -n --pidfile= rtchat $(if $(CONFIG),--config "$(CONFIG)")

test: needs $(VENV)/.installed-dev foreign-clients ## Run every test: Python, JavaScript, live servers, browser
	$(PYTEST) $(ARGS)

soak: needs $(VENV)/.installed-dev foreign-clients ## Run the property tests and the page's scenes in their long form
	RTCHAT_SOAK=1 $(PYTEST) -m 'hypothesis or soak or browser' $(ARGS)

# RTCHAT_EXAMPLES=N sets how many scripts; ARGS='--help' lists the rest.
fuzz: $(VENV)/.installed-dev ## Play random scripts over every wire, in any cuts: all has to come out the same
	PYTHONPATH=tests $(BIN)/python -m support.fuzz $(ARGS)

# The servers and commands that tests start are measured as well; some of them change their user,
# who has to be able to write the figures. Measured, the tests take more than twice as long.
coverage: needs $(VENV)/.installed-dev foreign-clients ## Run every test; report the lines that none of them reaches
	@data=$$(mktemp -d) && chmod 1777 "$$data" && \
	  trap 'rm -rf "$$data"' EXIT && \
	  COVERAGE_FILE="$$data/coverage" $(PYTEST) --cov --cov-report=term --cov-report=html $(ARGS)

check: $(VENV)/.installed-dev ## Check format, style and types without changing anything
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/mypy --scripts-are-modules chat.tac

bench: $(VENV)/.installed ## Measure a real server on this machine (Linux, needs a C compiler)
	$(if $(ARGS)$(if $(GATEWAY_ARGS),,all),$(BIN)/python -m benchmarks.bench $(ARGS))
	$(if $(GATEWAY_ARGS)$(if $(ARGS),,all),$(BIN)/python -m benchmarks.gateway $(GATEWAY_ARGS))
	-$(if $(ARGS)$(GATEWAY_ARGS),,$(BIN)/python -m benchmarks.guard --table)

bench-peers: $(VENV)/.installed ## Measure other brokers beside it: those that are installed
	$(BIN)/python -m benchmarks.peers $(ARGS)

clean: ## Remove the environment and everything that was made
	rm -rf $(VENV) build dist htmlcov .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf tests/js/node_modules twisted/plugins/dropin.cache
	find rtchat twisted tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is upgraded before anything else: txWS comes as a source archive whose build needs
# pip 23.2, and a new environment of Python 3.10 has an older one.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "rtchat needs Python 3.10 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "this Python cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=23.2'
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(RECIPE)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made $(RECIPE)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# Says at once which programs are missing and which tests are skipped without them; with CI=true
# that is an error.
needs: $(VENV)/.made
	@$(BIN)/python tests/support/needs.py

# Other people's clients, and axe-core. Without npm the tests that use its packages are skipped.
.PHONY: foreign-clients
foreign-clients: $(CLIENTS)/.installed $(if $(shell command -v npm),tests/js/node_modules/.installed)

tests/js/node_modules/.installed: tests/js/package.json tests/js/package-lock.json
	cd tests/js && npm ci --no-audit --no-fund --ignore-scripts --omit=optional
	@touch $@

# Clients in a folder each: their versions are not those of the environment.
$(CLIENTS)/.installed: $(VENV)/.made $(wildcard tests/support/interop/requirements/*.txt)
	rm -rf $(CLIENTS)
	for file in $(sort $(wildcard tests/support/interop/requirements/*.txt)); do \
	  $(BIN)/python -m pip install --quiet --target $(CLIENTS)/$$(basename $$file .txt) -r $$file || exit 1; \
	done
	@touch $@
