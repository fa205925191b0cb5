# Everything a person needs: `make demo` and `make test`. Each makes its own virtual environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export MPLBACKEND := Agg
# Two test workers with one thread each are quicker than two that fight over two cores.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: demo test test-fast lint check docs format clean setup

setup: $(VENV)/.done

# torch first and by itself: this pin takes a CPU build where one is at hand. If a torch is already
# in the environment (VENV=/path/to/yours), it is left alone.
$(VENV)/.done: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	$(BIN)/python -m pip install --quiet -e '.[augment]' || \
		echo "pyworld needs a C++ compiler here; tests of the extra 'augment' are skipped"
	touch $@

demo: setup            ## learn a stand-in stream with naive and rwm, and draw what was forgotten
	$(BIN)/earwitness demo

test: setup            ## all tests
	$(TEST) -n 2 --dist loadfile --no-loadscope-reorder

test-fast: setup       ## without the slow ones
	$(TEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

lint: setup            ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint            ## those, the public surface, and the examples in the docs
	$(TEST) -n 2 tests/test_surface.py tests/test_docs.py -m "not slow"

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup            ## reference from the docstrings, into site/
	$(BIN)/pdoc --docformat google --output-directory site/reference earwitness

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
