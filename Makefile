# Every verb of the project; continuous integration calls these and nothing else. `make` lists them.
# A machine needs Python 3.11 to 3.13, make and a package index; the virtual environment is made here.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

NPM := $(shell command -v npm 2>/dev/null)
BUF_VERSION := 1.57.2
BUF := build/buf/node_modules/.bin/buf
PYRIGHT_VERSION := 1.1.414
PYRIGHT := build/pyright/node_modules/.bin/pyright
PROTOS := $(sort $(wildcard protos/nasfeat/v1/*.proto protos/nasfeat/*/v*/*.proto))
SERVICES := $(filter %_service.proto,$(PROTOS))
# $(call protoc,DIRECTORY) writes the generated code below DIRECTORY.
protoc = $(BIN)/python -m grpc_tools.protoc --proto_path=protos --plugin=$(BIN)/protoc-gen-mypy \
	--python_out=$(1) --mypy_out=quiet:$(1) $(PROTOS) && \
	$(BIN)/python -m grpc_tools.protoc --proto_path=protos --plugin=$(BIN)/protoc-gen-mypy_grpc \
	--grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(SERVICES)

# Two at a time: most of the time goes into tracing graphs, which takes one core, and the full-size network takes gigabytes.
PYTEST = $(BIN)/python -m pytest --ignore=tests/benchmarks --numprocesses=2 --dist=worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow bench peers simulate soak fuzz observe lint types protos protos-check wheel-check clean

# Not in the list itself.
help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r verb what; \
	do printf '  make %-12s %s\n' "$$verb" "$$what"; done

demo: $(VENV)/for-demo ## Serve NASNet-A Large here, stream a video to it, show what came back (DEMO_ARGS="--help")
	@$(BIN)/python -m examples.demo $(DEMO_ARGS)

test: $(VENV)/for-test ## Run the tests but the slow ones (PYTEST_ARGS="-k name -n 0")
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(VENV)/for-test ## Run the slow tests: the full-size network, thousands of frames
	@$(PYTEST) -m slow $(PYTEST_ARGS)

bench: $(VENV)/for-test ## Run the benchmarks: ratios against a reference measured in the same run (BENCH_ARGS="--help")
	@$(BIN)/python tests/benchmarks $(BENCH_ARGS)

peers: $(VENV)/for-test ## Measure nasfeat beside Triton, Ray Serve, LitServe, mosec and plain grpc.aio (PEERS_ARGS="--help")
	@PYTHONPATH=tests/benchmarks $(BIN)/python -m peers $(PEERS_ARGS)

simulate: $(VENV)/for-test ## Simulate the scheduling policy beside two others; writes build/simulation (SIMULATE_ARGS="--help")
	@$(BIN)/python -m tests.simulation $(SIMULATE_ARGS)

soak: $(VENV)/for-test ## Load a whole server for minutes, kill what can be killed, balance the books (SOAK_ARGS="--help")
	@$(BIN)/python -m tests.soak $(SOAK_ARGS)

fuzz: $(VENV)/for-test ## Try millions of odd inputs on decoders, parsers and a server's port (FUZZ_ARGS="--help")
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

observe: $(VENV)/for-test ## Ask a real Prometheus every query of dashboard, rules and runbooks, under load (OBSERVE_ARGS="--help")
	@scripts/install_system_tools.sh prometheus chromium
	@$(BIN)/python -m tests.observe $(OBSERVE_ARGS)

lint: $(VENV)/for-dev ## Check style and formatting, and who may import whom
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-cache

types: $(VENV)/for-dev $(if $(NPM),$(PYRIGHT)) ## Check types: mypy's opinion of all, pyright's of the SDK as users call it
	@$(BIN)/mypy
	@if [ -x $(PYRIGHT) ]; then $(PYRIGHT) --pythonpath $(BIN)/python; \
	elif [ "$$CI" = true ]; then echo "npm is missing: it is needed here to install pyright."; exit 1; \
	else echo "SKIPPED pyright: npm, which installs it, is missing."; fi

protos: $(VENV)/for-dev ## Generate the Python code of the protos anew
	@$(call protoc,protos)

protos-check: $(VENV)/for-dev $(if $(NPM),$(BUF)) ## Check the protos, and that their generated code is current
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call protoc,$$fresh) && \
	diff -ru -x '*.proto' -x py.typed -x __init__.py -x __pycache__ protos/nasfeat "$$fresh/nasfeat" \
	&& echo "The generated code is current." || { echo "The generated code differs: run 'make protos'."; exit 1; }
	@if [ -x $(BUF) ]; then $(BUF) lint && $(BUF) format --diff --exit-code && echo "buf has no complaints."; \
	elif [ "$$CI" = true ]; then echo "npm is missing: it is needed here to install buf."; exit 1; \
	else echo "SKIPPED buf lint and buf format: npm, which installs buf, is missing."; fi

wheel-check: $(VENV)/for-dev ## Prove that the bare wheel is a light client
	@scripts/check_wheel.sh $(BIN)/python

clean: ## Remove everything that can be made again, the virtual environment too
	rm -rf $(VENV) build dist demo-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# One environment; a wider extra holds the narrower ones, so that their stamps are set with it.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	{ echo "nasfeat needs Python 3.11 to 3.13: name one, as in 'make PYTHON=python3.12 ...'"; exit 1; }
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# $(call install,EXTRA,STAMPS)
define install
	@echo "Installing nasfeat[$(1)] into $(VENV); the first time takes minutes, since TensorFlow is large ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
	@touch $(addprefix $(VENV)/for-,$(2))
endef

$(VENV)/for-demo: pyproject.toml | $(VENV)/bin/python
	$(call install,demo,demo)

$(VENV)/for-test: pyproject.toml | $(VENV)/bin/python
	$(call install,test,test demo)

$(VENV)/for-dev: pyproject.toml | $(VENV)/bin/python
	$(call install,dev,dev test demo)

$(PYRIGHT):
	@echo "Installing pyright $(PYRIGHT_VERSION) into build/pyright ..."
	@npm install --silent --no-fund --no-audit --no-save --prefix build/pyright pyright@$(PYRIGHT_VERSION)

$(BUF):
	@echo "Installing buf $(BUF_VERSION) into build/buf ..."
	@npm install --silent --no-fund --no-audit --no-save --prefix build/buf @bufbuild/buf@$(BUF_VERSION)
