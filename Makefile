# Everything here works on a machine with Python 3.11 to 3.14, git and make. `make run` and `make test` build .venv first.
# PYTHON=/path/to/python names one; else it is the first on the path of a version that all dependencies have builds for.
PYTHONS = python3 python3.14 python3.13 python3.12 python3.11 python
SUITS = -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))" 2>/dev/null
ifndef PYTHON
PYTHON = $(shell for each in $(PYTHONS); do if $$each $(SUITS); then echo $$each; break; fi; done)
endif
# TORCH=pip takes the torch that pip finds, and TORCH=cpu (cu130, auto, ...) has uv take that backend's build. Without a word it
# is cpu on Linux where no NVIDIA driver is and pip was given no index: pip alone would take gigabytes of libraries for GPUs.
TORCH ?=
VENV ?= .venv
BIN = $(VENV)/bin
RUN ?= runs/lean

.PHONY: run test check bench docs links pictures notebooks published bond lean better noise budget circuits phases cobyla claims mitigation \
  sizes mismatch real seen faults validate rehearsal layer house accuracy release clean

EXTRAS = dev,cloud-emulator,dask,onnx,hub,tensorboard,notebooks

# The environment is made anew when a file that says what is in it changes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(or $(PYTHON),false) $(SUITS) || { echo "No Python 3.11 to 3.14: PYTHON is '$(PYTHON)', tried were $(PYTHONS)." \
	  "Install one, or name it: PYTHON=/path/to/python3.13" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(call install_torch,$(BIN)/python)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

# torch for a Python of an environment; when uv does not get it, pip's own.
define install_torch
	@torch="$(TORCH)"; \
	if [ -z "$$torch" ]; then torch=cpu; \
	  if [ "$$(uname -s)" != Linux ] || [ -e /proc/driver/nvidia ] || command -v nvidia-smi >/dev/null || \
	    $(1) -m pip config list | grep -E "index|find-links" >/dev/null; then torch=pip; fi; \
	fi; \
	if [ "$$torch" != pip ]; then \
	  { $(1) -m pip install --quiet -c constraints.txt uv && $(1) -m uv pip install --quiet --python $(1) \
	    --torch-backend "$$torch" -c constraints.txt torch; } || echo "No torch for $$torch: the one that pip finds is taken." >&2; \
	fi
	$(1) -m pip install --quiet -c constraints.txt torch
endef

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

# The pages and the reference, in docs/_build/html; a warning is an error. Needs no network once its packages are there;
# make docs INTERSPHINX=1 fetches what links into the documentation of Python, NumPy, torch and Perceval need.
docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	INTERSPHINX=$(INTERSPHINX) $(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

# Follows every link of the pages that leads out of them.
links: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -q -b linkcheck docs docs/_build/links

# What is drawn and made of the code for the pages: docs/pictures/*.svg, the tables of docs/reference/configuration.md.
pictures: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.pictures
	$(BIN)/python -m tests.benchmarks.configuration

# The tables of the published work and the page of claims: make published MNIST=FOLDER, in torchvision's layout; with
# SCHEDULER=tcp://HOST:8786 on the workers of a Dask cluster. Each by itself: make noise MNIST=FOLDER. What is done is not
# done again; docs/results/<table>.json hold the figures, make claims writes docs/explanation/claims.md and the README's table.
TABLES = bond lean better noise budget circuits phases
published: $(TABLES) cobyla claims
$(TABLES): $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.published $@ $(MNIST) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

cobyla: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.published.cobyla $(MNIST)

claims: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.published.claims

# Mitigations side by side, ours and Perceval's; writes docs/results/mitigation.json and the tables of docs/how-to/mitigation.md.
mitigation: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.mitigation

# Mitigation on devices that the model does not describe, and with wrong records; writes docs/results/mismatch.json and the
# table of docs/explanation/real-machines.md. A part: make mismatch ARGUMENTS="--devices 6 --rows crosstalk-0.02,angles"
mismatch: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.mismatch $(ARGUMENTS)

# Mitigation of counts of a real machine, which are no part of this: make real DATA=FOLDER; writes docs/results/real.json
# and the table of docs/explanation/real-machines.md.
real: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.real $(DATA) --write

# Time and memory of a mitigation by modes and photons; writes the table of docs/how-to/mitigation.md.
sizes: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.sizes --write

# Every fault of the cloud, for Perceval's client and ours side by side; writes docs/results/faults.md.
faults: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.faults --out docs/results/faults.md

# Training on a simulated Belenos as its counts look; writes docs/results/seen.json and the table of
# docs/explanation/real-machines.md.
seen: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.seen

# Studies before a release: a hundred devices, programs and kills, and exported files where nothing of this is installed;
# writes docs/results/validation.json and .md.
validate: $(VENV)/.installed
	$(BIN)/python -m tests.validation

# The scripts of examples/notebooks as .ipynb files beside them, executed.
notebooks: $(VENV)/.installed
	$(BIN)/python -m tests.validation.notebooks

# Training on an emulated Belenos, with controls; writes docs/results/rehearsal.json and the table of docs/explanation/results.md.
rehearsal: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.rehearsal

# A hybrid classifier trained by each way to gradients, accuracy against settings; writes docs/results/layer.json and the
# table of docs/how-to/photonic-layer.md. A row: make layer ARGUMENTS="--only 'SPSA, 1 pair'"
layer: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.layer $(ARGUMENTS)

# What imports what, as a picture: writes docs/pictures/house.svg.
house: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.house

# Accuracy against numbers trained, with controls, from docs/results: writes docs/pictures/accuracy.svg.
accuracy: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.accuracy

# A release, in dist/: wheel and sdist; the wheel is installed where nothing else of this is, its components are written down,
# and the tests of the sdist run on it. Some of them: make release TESTS=tests/photonics
STAGE = build/release
TESTS ?= tests --pyargs qpu_sdk
release: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[release]"
	rm -rf dist $(STAGE)
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	mkdir -p $(STAGE)/sdist
	tar -xzf dist/*.tar.gz -C $(STAGE)/sdist --strip-components 1
	rm -r $(STAGE)/sdist/qpu_sdk
	$(PYTHON) -m venv $(STAGE)/installed
	$(call install_torch,$(STAGE)/installed/bin/python)
	$(STAGE)/installed/bin/python -m pip install --quiet -c constraints.txt dist/*.whl
	$(BIN)/python -m tests.benchmarks.components $(STAGE)/installed dist
	$(STAGE)/installed/bin/python -m pip install --quiet -c constraints.txt "$$(echo dist/*.whl)[$(EXTRAS)]"
	cd $(STAGE)/sdist && ../installed/bin/python -m pytest -q -n 2 --dist worksteal --ignore-glob "$(CURDIR)/$(STAGE)/installed/*/qpu_sdk/examples/*" $(TESTS)

clean:
	rm -rf $(VENV) build dist docs/_build
