# Everything here works on a machine with Python 3.11+, git and make. `make run` and `make test` build .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RUN ?= runs/lean

.PHONY: run test check bench docs protocol clean

# The environment is made anew when a file that says what is in it changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[data,dev,cloud-emulator]"
	touch $@

run: $(VENV)/.installed
	$(BIN)/qpu-sdk train examples/lean.toml --out $(RUN)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.run

docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

# The accuracy table of docs/results.md: needs MNIST in torchvision's layout, make protocol MNIST=FOLDER
protocol: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.protocol $(MNIST)

clean:
	rm -rf $(VENV) build dist docs/_build
