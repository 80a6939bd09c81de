# Needs make and Python 3.11 or later; everything else goes into .venv.

PYTHON ?= python3
# A further index for torch, such as https://download.pytorch.org/whl/cpu: torch without CUDA.
TORCH_INDEX ?=
# Where the training data is.
DATA ?= ../shared
# More arguments for pytest: make test ARGS="-k tokens"
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The one pip line: every member, what the tests compare with, and the tools.
MEMBERS := -e 'shared/core[local,modelscope]' -e shared/testkit -e shared/tiny -e 'packages/hybrid[qdrant,edge]' -e packages/training -e packages/cli -e packages/langchain -e packages/llama-index -e packages/haystack
# Their names, which constraints.txt does not pin.
SIBLINGS := langchain-qwen3-rag llama-index-qwen3-rag qwen3-rag qwen3-rag-cli qwen3-rag-haystack qwen3-rag-hybrid qwen3-rag-testkit qwen3-rag-tiny qwen3-rag-training
LIBRARIES := torch==2.13.0 sentence-transformers==6.2.0 peft
# What the adapters' tests and guides use beside them.
FRAMEWORKS := langchain-classic langchain-openai langchain-qdrant langchain-tests \
	llama-index-llms-openai-like llama-index-vector-stores-qdrant qdrant-haystack pytest-asyncio
TOOLS := coverage hatchling hypothesis import-linter mypy pytest ruff types-tqdm uv
# One requirement a line, for uv.
REQUIREMENTS = printf '%s\n' $(subst -e ,-e@,$(MEMBERS)) $(LIBRARIES) $(FRAMEWORKS) $(TOOLS) | tr @ ' '

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'
	@echo
	@echo 'Variables: PYTHON=python3.12  TORCH_INDEX=https://download.pytorch.org/whl/cpu  ARGS="-k tokens"'

.PHONY: install
install: $(STAMP)  ## make .venv and install the pinned set; done once

.PHONY: demo
demo: $(STAMP)  ## index this documentation and ask it three questions, with the small pair
	$(VENV)/bin/qwen3-rag demo

.PHONY: test
test: $(STAMP)  ## run the tests (ARGS= goes to pytest)
	$(PY) -m pytest $(ARGS)

.PHONY: test-older-cpu
test-older-cpu: $(STAMP)  ## run the core's tests as on a processor without AVX512, four minutes
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(PY) -m pytest shared/core/tests \
		-k 'not lexical and not memory and not few_shapes and not another_processor' $(ARGS)

.PHONY: test-light
test-light:  ## run the tests that need no torch, in an environment without it
	$(PYTHON) .ci/light.py $(ARGS)

.PHONY: coverage
coverage: $(STAMP)  ## run the tests and list the lines and branches they leave out
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

.PHONY: slow
slow: $(STAMP)  ## run the tests that take minutes
	$(PY) -m pytest -m slow --require-slow $(ARGS)

.PHONY: train-tiny
train-tiny: $(STAMP)  ## make the small trained pair anew from DATA=../shared, some ten minutes
	$(PY) -m pip install --quiet -c constraints.txt -r tools/train_tiny/requirements.txt
	$(PY) -m tools.train_tiny --data $(DATA) --out shared/tiny/src/qwen3_rag_tiny

.PHONY: bench
bench: $(STAMP)  ## compare the engine with its peers on this machine (ARGS="--quick", ARGS=--help)
	$(PY) -m benchmarks.engine $(ARGS)

.PHONY: lint
lint: $(STAMP)  ## check style, types and who imports whom
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

.PHONY: format
format: $(STAMP)  ## format the code and sort its imports
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: wheels
wheels: $(STAMP)  ## build sdists and wheels, check them, install each wheel alone and import it
	.ci/wheels

.PHONY: compat
compat: $(STAMP)  ## test the adapters with the lowest and the newest versions they allow
	TORCH_INDEX='$(TORCH_INDEX)' .ci/compat

.PHONY: constraints
constraints: $(STAMP)  ## resolve constraints.txt anew, keeping pins that still fit (ARGS=--upgrade)
	@$(REQUIREMENTS) | UV_PYTHON_DOWNLOADS=never $(VENV)/bin/uv pip compile - --universal --python-version 3.11 --quiet \
		--no-annotate $(patsubst %,--no-emit-package %,$(SIBLINGS)) \
		--custom-compile-command 'make constraints' $(ARGS) --output-file constraints.txt > /dev/null

.PHONY: constraints-check
constraints-check: $(STAMP)  ## resolve constraints.txt for Python 3.11 to 3.14, installing nothing
	@$(REQUIREMENTS) | .ci/constraints-check $(SIBLINGS)

.PHONY: clean
clean:  ## remove .venv, what was built, and caches
	rm -rf $(VENV) build/light dist .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find shared packages tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): constraints.txt Makefile $(wildcard shared/*/pyproject.toml packages/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Python 3.11 or later is needed. If it has another name: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo 'This Python cannot make virtual environments. On Debian and Ubuntu, run:'; \
		echo 'apt install python3-venv'; exit 1; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@if [ -n '$(TORCH_INDEX)' ] || [ "$$(uname -s)" != Linux ]; then \
		echo 'Fetching what is not cached yet, about 0.4 GB.'; \
	else \
		echo 'Fetching what is not cached yet: up to 3 GB, most of it CUDA for torch.'; \
		echo 'Without an NVIDIA GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu makes it 0.4 GB.'; \
	fi
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(PY) -m pip install \
		--disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') \
		$(LIBRARIES) $(MEMBERS) $(FRAMEWORKS) $(TOOLS)
	@touch $@
