# Every target sets up what it needs; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A limit of time that a busy machine breaks is no defect: what fails is tried once more, and the last lines name it as RERUN.
PYTEST = echo "== $@" && $(BIN)/pytest -q -p no:cacheprovider --reruns 1 --reruns-delay 5 -raR
STAMP := $(VENV)/.set-up
TRITON := $(VENV)/triton
TRITON_STAMP := $(TRITON)/steno.lock.sha256
# The interpreter of Triton's models, for `steno up --engine triton` and the tests.
export STENO_TRITON_INTERPRETER ?= $(abspath $(TRITON))
# A service that compiles its modules at every start takes two seconds of a core more, and the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE
PROTOS := $(shell find protos/steno -name '*.proto')
ENGINE ?= local
# Areas of the tests, the slowest first.
AREAS := campaigns jobs e2e inference e2e-contracts gateway mesh storage e2e-triton stack models_cli billing cli deploy media completeness tools bench
# Whole-mesh tests of the public contracts.
E2E_CONTRACTS := $(wildcard tests/e2e/test_contract_*.py tests/e2e/test_examples_*.py) tests/e2e/test_idempotency_races.py tests/e2e/test_signing_in.py
# Whole-mesh tests over a real tritonserver.
E2E_TRITON := $(wildcard tests/e2e/test_triton_*.py)
DATA ?= .steno
PORT ?= 8080
SIZES ?= tiny,base
DEVICE ?= cpu
CAMPAIGNS ?=
SEED ?= 1
DATABASE ?= sqlite
IMAGES ?=
REGISTRY ?=
RELEASE ?=
STATE ?= deploy/compose/state
LAYERS ?=
ARGS ?= --help
AUDIT_SERVICE ?= pypi

.PHONY: help setup setup-triton demo up test test-faults check format lock bench bench-asr images pin-images compose-setup compose-up compose-run compose-down audit sbom licences clean $(addprefix test-,$(AREAS))

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the virtual environment and generate the protobuf modules (1-2 minutes the first time)

$(STAMP): requirements.lock pyproject.toml protos/generate.py protos/build_hook.py $(PROTOS)
	@$(PYTHON) -c 'import sys; sys.exit("Steno needs Python 3.11 or newer; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV): libraries from requirements.lock, then the protobuf modules"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)"
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

setup-triton: $(TRITON_STAMP) ## Make the interpreter of Triton's models in .venv/triton (100 MB of packages)

$(TRITON_STAMP): $(STAMP) deploy/triton/requirements.lock
	@$(BIN)/python -m services.stack.triton.interpreter $(TRITON)
	@touch $@

demo: setup $(if $(filter triton,$(ENGINE)),setup-triton) ## Start the mesh, transcribe the sample meeting through REST, print it, stop (about 1 minute after setup)
	@$(BIN)/python -m tools.demo --engine $(ENGINE)

up: setup $(if $(filter triton,$(ENGINE)),setup-triton) ## Run Steno on this machine (DATA=.steno PORT=8080 ENGINE=local|triton)
	@$(BIN)/steno up --data $(DATA) --port $(PORT) --engine $(ENGINE)

# Each area in a process of its own, three at a time, as many of them wait: gRPC's asyncio does not bear the event loops of a thousand tests in one process.

test: setup-triton ## Run the tests (starts its own NATS, Postgres and S3 servers; about half an hour on two cores)
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target --keep-going $(addprefix test-,$(AREAS))

test-e2e: setup-triton ; @$(PYTEST) --tls tests/e2e $(addprefix --ignore ,$(E2E_CONTRACTS) $(E2E_TRITON))
test-e2e-contracts: setup ; @$(PYTEST) $(E2E_CONTRACTS)
test-e2e-triton: setup-triton ; @$(PYTEST) $(E2E_TRITON)
test-campaigns: setup-triton ; @$(PYTEST) tests/faults
test-completeness: setup ; @$(PYTEST) $(wildcard tests/test_*.py)
$(foreach area,$(filter-out e2e e2e-contracts e2e-triton campaigns completeness,$(AREAS)),test-$(area)): test-%: setup-triton ; @$(PYTEST) tests/$*

test-faults: setup-triton ## Run every campaign of faults in its long form, and Triton's faults over 20 jobs (hours; CAMPAIGNS="kills power" SEED=1 DATABASE=sqlite|postgresql)
	@$(BIN)/python -m faults $(CAMPAIGNS) --long --seed $(SEED) --database $(DATABASE)
	@$(if $(CAMPAIGNS),,$(PYTEST) --faults=long tests/e2e/test_triton_faults.py)

check: setup ## Lint, types, import rules, protos, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	for model in deploy/triton/model_repository/*/1/model.py; do $(BIN)/mypy $$model || exit 1; done  # All are called model.py.
	$(BIN)/lint-imports --config .importlinter --no-cache
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python -m pip check --disable-pip-version-check

format: setup ## Format the code and the protos
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

lock: ## Resolve requirements.lock and the locks of Triton and the images anew
	@test -x $(BIN)/uv || ($(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv)
	$(BIN)/uv pip compile --quiet deploy/triton/requirements.in --no-deps --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --output-file deploy/triton/requirements.lock
	$(BIN)/uv pip compile --quiet deploy/locks/triton-gpu.in --no-deps --python-version 3.12 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --output-file deploy/locks/triton-gpu.lock
	$(BIN)/uv pip compile --quiet pyproject.toml --extra all --extra dev --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock
	@$(MAKE) --no-print-directory setup
	$(BIN)/python -m tools.locks

bench: setup ## Print speed and memory as ratios against a baseline run beside it
	@GRPC_ENABLE_FORK_SUPPORT=0 $(BIN)/python -m bench

bench-asr: setup ## Measure the Whisper runtime beside CTranslate2 and transformers, where those are installed (SIZES=tiny,base DEVICE=cpu|cuda)
	@$(BIN)/python -m bench --only asr --device $(DEVICE) --sizes $(SIZES)

images: setup ## Build the container images with docker buildx (IMAGES="gateway jobs" REGISTRY= RELEASE=1 pushes, on pinned bases only)
	@$(BIN)/python -m tools.images build $(IMAGES) --registry "$(REGISTRY)" $(if $(RELEASE),--release)

pin-images: setup ## Write the digests of the images that ours stand on and run beside into deploy/images.env
	@$(BIN)/python -m tools.images pin

compose-setup: setup ## Make keys, passwords, certificates and folders for deploy/compose.yaml (STATE=deploy/compose/state); again renews certificates
	@$(BIN)/python -m tools.compose_setup $(STATE)

COMPOSE = docker compose --env-file deploy/images.env --env-file $(STATE)/compose.env --file deploy/compose.yaml $(foreach layer,$(LAYERS),--file deploy/compose.$(layer).yaml)

compose-up: compose-setup ## Run Steno in containers (LAYERS="observability gpu")
	@$(COMPOSE) up --build --detach --wait

compose-run: ## Run a command of the operator in a container (ARGS="workspaces create Example")
	@$(COMPOSE) run --rm operator $(ARGS)

compose-down: ## Stop the containers, not what they stored
	@$(COMPOSE) down

audit: setup ## Ask for known vulnerabilities of every locked package (AUDIT_SERVICE=pypi|osv); 1: some known, 3: some could not be asked for
	@$(BIN)/python -m tools.audit --service $(AUDIT_SERVICE)

sbom: setup ## Write a CycloneDX bill of materials per image into dist/sbom
	@$(BIN)/python -m tools.sbom

licences: setup ## Write docs/licences.md and refuse a licence that deploy/licences.toml does not allow
	@$(BIN)/python -m tools.licences

clean: ## Remove the virtual environment and generated modules (not your data)
	rm -rf $(VENV) build dist *.egg-info
	find protos/steno -name '*_pb2*' -delete
