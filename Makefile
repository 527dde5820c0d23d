# Everything that people and CI run. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

HOSTS ?= 2
XGBOOST ?= cpu
export XGBOOST XGBOOST_VERSION
IMAGE ?= treering:$(XGBOOST)
TESTS ?= tests/unit tests/mpi tests/fuzz tests/serving tests/image
ARGS ?=
EXAMPLES ?= 5000
KILLS ?= 20

BIN := .venv/bin
WITH_ENGINE := scripts/docker_engine.sh run
PEERS = --peers "$$(scripts/tool_env.sh bench)" --flights "$$(scripts/flights.sh)"

.PHONY: help setup demo test test-image test-sdk test-fault test-resume lint lock image push image-size bench bench-whole bench-hosts bench-startup bench-exact bench-strategies bench-checkpoints invariance faults fuzz clean

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

test-sdk: setup ## both SageMaker SDKs, push and the documentation's commands, none skipped; brings an engine up
	@$(WITH_ENGINE) env TREERING_REQUIRE_SDK=1 $(BIN)/pytest tests/sdk $(ARGS)

test-fault: setup ## break jobs in every way, each once, none skipped; brings an engine up (root on Linux)
	@$(WITH_ENGINE) env TREERING_REQUIRE_FAULTS=1 $(BIN)/pytest tests/faults $(ARGS)

test-resume: setup ## kill each of three jobs 20 times, go on on other hosts, compare models (KILLS=…)
	@RESUME_KILLS=$(KILLS) $(BIN)/pytest tests/mpi/test_resume.py --timeout=3600 $(ARGS)

faults: setup ## break a job in every way, 20 times each, and print how it ends; ARGS=--write for the docs
	@$(WITH_ENGINE) bash -c 'scripts/build_image.sh "$$0" && \
		PYTHONPATH=tests $(BIN)/python -m benchmarks.faults --image "$$0" "$$@"' $(IMAGE) $(ARGS)

fuzz: setup ## search longer than the tests do for bytes that break a parser (EXAMPLES=… for each fuzzer)
	@TREERING_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/fuzz --timeout=0 $(ARGS)

lint: setup ## ruff and mypy over everything
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

lock: ## write the lock files anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@scripts/lock.sh $(ARGS)

image: ## build the image, and say in out/image what is in it (XGBOOST=gpu, XGBOOST_VERSION=3.2.0, IMAGE=name:tag)
	@$(WITH_ENGINE) bash -c 'scripts/build_image.sh "$$@" && scripts/describe_image.sh "$$1" out/image' - $(IMAGE) $(ARGS)

push: ## build the image and push it to ECR (ARGS="--region … --dry-run")
	@$(WITH_ENGINE) scripts/push_image.sh $(ARGS)

image-size: image ## print what the image's size consists of
	@$(WITH_ENGINE) scripts/image_size.sh $(IMAGE)

invariance: setup ## train each of 26 cases in several layouts and count its models; also plain XGBoost's
	@$(BIN)/python -m benchmarks.invariance --flights "$$(scripts/flights.sh)" $(ARGS)

bench: bench-whole bench-hosts ## measure whole jobs on one host and on several: half an hour (root on Linux)

bench-whole: setup ## measure whole jobs beside a plain script, AWS's way to load, and LightGBM
	@$(BIN)/python -m benchmarks.whole $(PEERS) $(ARGS)

bench-hosts: setup ## measure two hosts beside plain XGBoost, and how jobs grow with hosts (root on Linux)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.hosts $(PEERS) $(ARGS)

bench-exact: setup ## measure what exactness costs: quality, time per round, time to build the matrix
	@GOMP_SPINCOUNT=1000 $(BIN)/python -m benchmarks.exact $(ARGS)

bench-strategies: setup ## measure the three strategies: quality, bytes, seconds (ARGS=--quick; root on Linux)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.strategies --flights "$$(scripts/flights.sh)" $(ARGS)

bench-checkpoints: setup ## measure what checkpoints cost at the default interval
	@$(BIN)/python -m benchmarks.checkpoints $(ARGS)

bench-startup: setup ## measure process start to first round, and last round to exit
	@$(BIN)/python benchmarks/startup.py $(ARGS)

clean: ## remove all that the targets made, .venv included
	rm -rf .venv .tools out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -r {} +
