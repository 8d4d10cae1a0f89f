# Two commands do everything: `make demo` and `make test`. Both set up what is missing first.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench unit clean

demo: .venv/.runtime-ready
	@$(BIN)/axiom run -p "Once upon a time" --temp 0.8 $(DEMO_ARGS)

test: check unit

# Against llama.cpp when .venv-peer has it (`make .venv-peer`); MODEL=FILE.gguf for another model.
bench: .venv/.development-ready
	$(BIN)/axiom bench $(MODEL) --quick --peer $(if $(wildcard .venv-peer/bin/python),llama.cpp,none) $(BENCH_ARGS)

# llama.cpp is compiled for this very processor, which takes some minutes. With its dead store elimination GCC 12 leaves
# out what the AMX code writes in front of `ldtilecfg`, and llama.cpp then ends in a segmentation fault.
PEER_FLAGS := -fno-tree-dse -fno-dse
.venv-peer:
	$(PYTHON) -m venv .venv-peer
	CMAKE_ARGS="-DGGML_NATIVE=ON -DCMAKE_C_FLAGS='$(PEER_FLAGS)' -DCMAKE_CXX_FLAGS='$(PEER_FLAGS)'" \
		.venv-peer/bin/pip install --no-cache-dir --no-binary llama-cpp-python llama-cpp-python

unit: .venv/.development-ready
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/.development-ready
	$(BIN)/ruff format --check src tests tools
	$(BIN)/ruff check src tests tools
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell src tests tools docs README.md Makefile pyproject.toml
	$(BIN)/pyright

.venv/.runtime-ready: requirements.lock pyproject.toml tools/setup.sh
	@PYTHON=$(PYTHON) sh tools/setup.sh runtime

.venv/.development-ready: requirements-dev.lock pyproject.toml tools/setup.sh
	@PYTHON=$(PYTHON) sh tools/setup.sh development

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
