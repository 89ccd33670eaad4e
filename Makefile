# Dovetail. `make` alone says what there is to do.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON  ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV    := $(CURDIR)/.venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
DATA    ?=
NAME    ?=
ARGS    ?=

# Spark starts `python3` and Flink `python` by name: both must be this project's. A SPARK_HOME from elsewhere would win over the wheel.
export PATH := $(BIN):$(PATH)
export VIRTUAL_ENV := $(VENV)
unexport SPARK_HOME PYTHONHOME PYTHONPATH

.PHONY: help
help:  ## say what there is to do (this)
	@awk 'BEGIN {FS = ":.*## "; print "make TARGET\n"} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## ---- set up

.PHONY: env
env: $(STAMP)  ## create .venv and install everything, as locked in requirements.lock

$(STAMP): setup.py requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo "error: Dovetail needs Python 3.11, $(PYTHON) is not; install it or run: make PYTHON=path-of-python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock pip setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test]'
	ln -sfn "$$($(BIN)/python -c 'import importlib.util; print(importlib.util.find_spec("pyflink").submodule_search_locations[0])')/bin/flink" $(BIN)/flink
	touch $@

.PHONY: jars
jars: env  ## fetch the jars of Kafka, Cassandra, Flink and Delta into build/jars (once, by Maven)
	dovetail jars

.PHONY: zip
zip: env  ## build dist/dovetail.zip, what goes to the clusters
	dovetail bundle

.PHONY: doctor
doctor: env  ## check what this machine has and what is missing, with the remedy
	dovetail doctor

## ---- run

.PHONY: demo
demo: env jars zip  ## run the whole loop and its self-check (DATA=file for your own history)
	dovetail demo $(if $(DATA),--data '$(DATA)') $(ARGS)

.PHONY: up
up: env jars zip  ## start the platform on this machine and leave it running
	dovetail up $(ARGS)

.PHONY: down
down: env  ## stop what `make up` started
	dovetail down $(ARGS)

.PHONY: nightly
nightly: env jars zip  ## run the nightly chain of batch jobs on the running platform (ARGS="--cut ...")
	dovetail nightly $(ARGS)

BENCHMARKS = $$(ls benchmarks 2>/dev/null | sed -n 's/\.py$$//p' | xargs)

.PHONY: bench-name
bench-name:
	@test -n '$(NAME)' || { echo "error: say which: make bench NAME=one of: $(BENCHMARKS)" >&2; exit 2; }
	@test -f 'benchmarks/$(NAME).py' || { echo "error: there is no benchmarks/$(NAME).py; there are: $(BENCHMARKS)" >&2; exit 2; }

BENCH_STAMP := $(VENV)/.bench

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[bench]'
	touch $@

.PHONY: bench
bench: bench-name env jars zip $(BENCH_STAMP)  ## run one benchmark (NAME=...)
	PYTHONPATH='$(CURDIR)' python 'benchmarks/$(NAME).py' $(ARGS)

## ---- check

# Two processes share the tests, each with engines of its own (conftest.py); ARGS="-n 0 FILE" runs some in one.
.PHONY: test
test: env jars zip lint  ## everything: lint, types, import rules, then all tests
	python -m pytest -n 2 $(ARGS)

.PHONY: test-fast
test-fast: env  ## the pure tests, no JVM (seconds)
	python -m pytest -m "not spark and not flink and not platform" $(ARGS)

.PHONY: test-faults
test-faults: env jars zip  ## the long form of the fault tests: 100,000 events each (an hour)
	DOVETAIL_FAULTS=long python -m pytest tests/platform/test_streaming.py tests/platform/test_faults.py tests/platform/test_upgrade.py $(ARGS)

.PHONY: test-submit
test-submit: env jars zip  ## each step of the nightly chain by its own spark-submit line (ten minutes)
	DOVETAIL_SUBMIT=each python -m pytest tests/jobs/test_spark_submit.py $(ARGS)

.PHONY: lint
lint: env  ## style, types and import rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports

.PHONY: format
format: env  ## bring the code into the one format
	ruff check --fix .
	ruff format .

## ---- containers

.PHONY: docker-up
docker-up: env jars zip  ## the same platform in containers (docker with compose, or podman)
	python docker/compose.py up

.PHONY: docker-down
docker-down: env  ## stop the containers and remove their volumes
	python docker/compose.py down

.PHONY: docker-test
docker-test: env jars zip  ## build the images and prove the containers, also without a docker engine
	python docker/compose.py test

## ---- tidy

.PHONY: clean
clean:  ## remove build/, dist/ and caches; .venv stays
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find common views jobs streaming serving local cli tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
