# Requires make and Python 3.11 or later. Everything else is installed into .venv.

PYTHON ?= python3
# An extra index for torch, such as https://download.pytorch.org/whl/cpu for torch without CUDA.
TORCH_INDEX ?=
# Folder of the training data.
DATA ?= ../shared
# Processes that run the tests side by side.
WORKERS ?= 2
# Extra arguments, for example make test ARGS="-k tokens"
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# uv does not read pip's settings.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX := $(PIP_INDEX_URL)
endif
# pytest-xdist: a process that has finished its tests takes over tests of the others.
SIDE_BY_SIDE = --numprocesses $(WORKERS) --dist worksteal

# What pip installs: all packages, libraries that the tests compare with, and tools.
MEMBERS := -e 'shared/core[chat,local,modelscope,remote]' -e shared/testkit -e shared/tiny -e 'packages/hybrid[all]' -e packages/evaluation -e packages/server -e packages/training -e 'packages/cli[all]' -e packages/langchain -e packages/llama-index -e packages/haystack
# The packages' names, which constraints.txt does not pin.
SIBLINGS := langchain-qwen3-rag llama-index-qwen3-rag qwen3-rag qwen3-rag-cli qwen3-rag-evaluation qwen3-rag-haystack qwen3-rag-hybrid qwen3-rag-server qwen3-rag-testkit qwen3-rag-tiny qwen3-rag-training
LIBRARIES := torch==2.13.0 sentence-transformers==6.2.0 peft gguf cohere fastapi python-docx 'ir-measures; platform_machine != "aarch64"' 'xllamacpp; sys_platform == "linux" and platform_machine == "x86_64"'
# Libraries for the tests and guides of the adapters.
FRAMEWORKS := langchain-classic langchain-openai langchain-tests llama-index-embeddings-openai-like llama-index-llms-openai-like pytest-asyncio \
	langchain-milvus langchain-qdrant langchain-weaviate \
	llama-index-vector-stores-qdrant llama-index-vector-stores-weaviate \
	huggingface-api-haystack milvus-haystack qdrant-haystack vllm-haystack weaviate-haystack
TOOLS := axe-playwright-python coverage hatchling hypothesis import-linter mypy playwright pyte pytest pytest-xdist ruff schemathesis types-tqdm uv
# One requirement per line, for uv.
REQUIREMENTS = printf '%s\n' $(subst -e ,-e@,$(MEMBERS)) $(LIBRARIES) $(FRAMEWORKS) $(TOOLS) | tr @ ' '

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'
	@echo
	@echo 'Variables: PYTHON=python3.12  TORCH_INDEX=https://download.pytorch.org/whl/cpu  ARGS="-k tokens"'

.PHONY: install
install: $(STAMP)  ## create .venv and install everything, with pinned versions

.PHONY: demo
demo: $(STAMP)  ## index this documentation with the tiny models and ask it three questions
	$(VENV)/bin/qwen3-rag demo

.PHONY: test
test: $(STAMP)  ## run the tests (ARGS= is passed to pytest)
	$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

# The core's tests of numbers that torch computes; no other result depends on the CPU.
OF_NUMBERS := adapters attention cache caller exactness forward layers layout_words linear loading \
	local_backend own_tokens prefix_cache published_values quantised
.PHONY: test-older-cpu
test-older-cpu: $(STAMP)  ## run the tests of the core's numbers like on a CPU without AVX-512
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(PY) -m pytest \
		$(OF_NUMBERS:%=shared/core/tests/test_%.py) \
		-k 'not memory and not few_shapes and not another_processor' $(SIDE_BY_SIDE) $(ARGS)

.PHONY: test-light
test-light:  ## run the tests that need no torch, in an environment without it
	$(PYTHON) .ci/light.py $(ARGS)

.PHONY: coverage
coverage: $(STAMP)  ## run the tests and list the lines and branches that they miss
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(SIDE_BY_SIDE) $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

.PHONY: integration
integration: $(STAMP)  ## test on servers of stores and models: by URL, from binaries or in containers
	$(PY) -m pip install --quiet -c constraints.txt -r integration_tests/requirements.txt
	$(PY) -m pytest integration_tests/stores integration_tests/servers $(ARGS)

.PHONY: slow
slow: $(STAMP)  ## run the tests that take minutes
	$(PY) -m pytest -m slow --require-slow $(ARGS)

.PHONY: train-tiny
train-tiny: $(STAMP)  ## train the tiny checkpoints from DATA=../shared, in about ten minutes
	$(PY) -m pip install --quiet -c constraints.txt -r tools/train_tiny/requirements.txt
	$(PY) -m tools.train_tiny --data $(DATA) --out shared/tiny/src/qwen3_rag_tiny

.PHONY: pictures
pictures: $(STAMP)  ## draw the terminals and the search page in docs/pictures (ARGS=--all draws variants, to look at)
	$(PY) -m tools.pictures docs/pictures $(ARGS)

.PHONY: bench
bench: $(STAMP)  ## compare the engine with other libraries on this machine (ARGS="--quick", ARGS=--help)
	$(PY) -m benchmarks.engine $(ARGS)

.PHONY: lint
lint: $(STAMP)  ## check style, types and import rules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

.PHONY: format
format: $(STAMP)  ## format the code and sort imports
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: wheels
wheels: $(STAMP)  ## build and check sdists and wheels; install and import each wheel separately
	.ci/wheels

.PHONY: compat
compat: $(STAMP)  ## test the adapters with the lowest and the newest allowed versions
	TORCH_INDEX='$(TORCH_INDEX)' .ci/compat

.PHONY: constraints
constraints: $(STAMP)  ## update constraints.txt, keeping pins that still work (ARGS=--upgrade)
	@$(REQUIREMENTS) | UV_PYTHON_DOWNLOADS=never $(VENV)/bin/uv pip compile - --universal --python-version 3.11 --quiet \
		--no-annotate $(patsubst %,--no-emit-package %,$(SIBLINGS)) \
		--custom-compile-command 'make constraints' $(ARGS) --output-file constraints.txt > /dev/null

.PHONY: constraints-check
constraints-check: $(STAMP)  ## check that constraints.txt resolves on Python 3.11 to 3.14
	@$(REQUIREMENTS) | .ci/constraints-check $(SIBLINGS)

.PHONY: clean
clean:  ## remove .venv, build results and caches
	rm -rf $(VENV) build/light dist .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find shared packages tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): constraints.txt Makefile $(wildcard shared/*/pyproject.toml packages/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Python 3.11 or later is needed. To name one: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo 'This Python cannot create virtual environments. On Debian and Ubuntu, run:'; \
		echo 'apt install python3-venv'; exit 1; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@if [ -n '$(TORCH_INDEX)' ] || [ "$$(uname -s)" != Linux ]; then \
		echo 'Downloading up to 0.4 GB that are not cached yet.'; \
	else \
		echo 'Downloading up to 3 GB that are not cached yet, most of it CUDA for torch.'; \
		echo 'Without an NVIDIA GPU, use TORCH_INDEX=https://download.pytorch.org/whl/cpu (0.4 GB).'; \
	fi
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(PY) -m pip install \
		--disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') \
		$(LIBRARIES) $(MEMBERS) $(FRAMEWORKS) $(TOOLS)
	@touch $@
