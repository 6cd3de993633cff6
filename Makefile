# Everything here works on a machine with Python 3.11+, git and make. `make run` and `make test` build .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RUN ?= runs/lean

.PHONY: run test check bench docs notebooks published bond lean better noise budget circuits phases cobyla claims mitigation sizes mismatch \
  real seen faults validate rehearsal layer clean

# The environment is made anew when a file that says what is in it changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,cloud-emulator,dask,onnx,hub,tensorboard,notebooks]"
	touch $@

# The default run: goes on with one that is not finished, else begins another in the next free folder.
run: $(VENV)/.installed
	@for run in $(RUN) $(RUN)-[0-9]*; do \
	  if [ -f "$$run/config.toml" ] && [ ! -f "$$run/summary.json" ]; then exec $(BIN)/qpu-sdk resume "$$run" --wait; fi; \
	done; \
	run=$(RUN); number=1; \
	while [ -e "$$run/config.toml" ]; do number=$$((number + 1)); run=$(RUN)-$$number; done; \
	exec $(BIN)/qpu-sdk train examples/lean.toml --out "$$run"

# Two workers, whatever the machine has: no verdict depends on how busy it is.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.run
	@$(BIN)/python -m tests.benchmarks.scale
	@$(BIN)/python -m tests.benchmarks.calibration
	@$(BIN)/python -m tests.benchmarks.sweeps

# The pages and the reference, in docs/_build/html; a warning is an error.
docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

# The tables of the published work and the page of claims: make published MNIST=FOLDER, in torchvision's layout; with
# SCHEDULER=tcp://HOST:8786 on the workers of a Dask cluster. Each by itself: make noise MNIST=FOLDER. What is done is not
# done again; docs/results/<table>.json hold the figures, make claims writes docs/claims.md and the README's table.
TABLES = bond lean better noise budget circuits phases
published: $(TABLES) cobyla claims
$(TABLES): $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.published $@ $(MNIST) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

cobyla: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.published.cobyla $(MNIST)

claims: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.published.claims

# Mitigations side by side, ours and Perceval's; writes docs/results/mitigation.json and the tables of docs/mitigation.md.
mitigation: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.mitigation

# Mitigation on devices that the model does not describe, and with wrong records; writes docs/results/mismatch.json and the
# table of docs/real-machines.md. A part: make mismatch ARGUMENTS="--devices 6 --rows crosstalk-0.02,angles"
mismatch: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.mismatch $(ARGUMENTS)

# Mitigation of counts of a real machine, which are no part of this: make real DATA=FOLDER; writes docs/results/real.json
# and the table of docs/real-machines.md.
real: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.real $(DATA) --write

# Time and memory of a mitigation by modes and photons; writes the table of docs/mitigation.md.
sizes: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.sizes --write

# Every fault of the cloud, for Perceval's client and ours side by side; writes docs/results/faults.md.
faults: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.faults --out docs/results/faults.md

# Training on a simulated Belenos as its counts look; writes docs/results/seen.json and the table of docs/real-machines.md.
seen: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.seen

# Studies before a release: a hundred devices, programs and kills, and exported files where nothing of this is installed;
# writes docs/results/validation.json and .md.
validate: $(VENV)/.installed
	$(BIN)/python -m tests.validation

# The scripts of examples/notebooks as .ipynb files beside them, executed.
notebooks: $(VENV)/.installed
	$(BIN)/python -m tests.validation.notebooks

# Training on an emulated Belenos, with controls; writes docs/results/rehearsal.json and the table of docs/results.md.
rehearsal: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.rehearsal

# A hybrid classifier trained by each way to gradients, accuracy against settings; writes docs/results/layer.json and the
# table of docs/photonic-layer.md. A row: make layer ARGUMENTS="--only 'SPSA, 1 pair'"
layer: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.layer $(ARGUMENTS)

clean:
	rm -rf $(VENV) build dist docs/_build
