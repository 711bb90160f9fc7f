# make demo   the main job on real data
# make test   the whole suite, on every backend     (BACKENDS="tensorflow jax" leaves torch out)
# make check  style, types, structure, sizes
# make bench  the figures that the README states
# make docs   the site: .build/docs/index.html
# make fuzz   fuzz the readers of files (FUZZ_SECONDS=3600 in all, two at a time)
# make clean  remove everything that these made
#
# Each makes what it needs in .venv and, when nothing has changed, starts at once.

PYTHON ?= python3
BACKENDS ?= tensorflow jax torch
TEST_OPTIONS ?=
FUZZ_SECONDS ?= 3600
# The lowest Keras that the package promises; its tests run beside those of the newest.
OLDEST_KERAS := 3.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --upgrade-strategy only-if-needed -c constraints.txt
STAMPS := $(VENV)/stamps

comma := ,
empty :=
space := $(empty) $(empty)
# On a machine without a GPU the CPU build of TensorFlow does the same in half the download.
BACKEND_EXTRAS := $(subst $(space),$(comma),$(patsubst tensorflow,tensorflow-cpu,$(strip $(BACKENDS))))
# What only some of the tests write their files with; it brings JAX along.
WITH_JAX := $(if $(filter jax,$(BACKENDS)),orbax-checkpoint)
TEST_STAMP := $(STAMPS)/test-$(subst $(space),-,$(strip $(BACKENDS)))

.PHONY: demo test check bench fuzz docs clean
# All of them write into one .venv.
.NOTPARALLEL:

demo: $(STAMPS)/demo
	KERAS_BACKEND=$${KERAS_BACKEND:-jax} $(BIN)/steelyard demo

test: $(TEST_STAMP) $(STAMPS)/oldest-keras
	$(BIN)/python tests/run.py --backends "$(BACKENDS)" $(TEST_OPTIONS)

check: $(STAMPS)/check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m no_keras tests/test_rooms.py tests/test_light_import.py tests/test_public_names.py
	$(BIN)/python tests/sizes.py

bench: $(TEST_STAMP) $(STAMPS)/peers
	@set -e; for file in benchmarks/*.py; do \
	  if [ -e "$$file" ]; then echo "== $$file"; $(BIN)/python "$$file"; \
	  else echo "There is no benchmark yet."; fi; done

docs: .build/docs/made
	@echo "The site is at .build/docs/index.html"

fuzz: $(TEST_STAMP)
	$(BIN)/python fuzz/run.py --seconds $(FUZZ_SECONDS) --jobs 2

clean:
	rm -rf $(VENV) .build .mypy_cache .pytest_cache .ruff_cache dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A .venv made by another tool may lack pip, and Debian's may lack ensurepip: say so where it happens.
$(STAMPS)/venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Steelyard needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade
	$(PIP) install --quiet --upgrade pip
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/demo: $(STAMPS)/venv pyproject.toml constraints.txt
	$(INSTALL) -e ".[demo,jax]"
	touch $@

$(STAMPS)/check: $(STAMPS)/venv pyproject.toml constraints.txt
	$(INSTALL) -e ".[dev]"
	touch $@

$(STAMPS)/docs: $(STAMPS)/venv pyproject.toml constraints.txt
	$(INSTALL) -e ".[docs,demo,jax]"
	touch $@

CODE := $(shell find src -name '*.py')

# The reference and the pictures take a Keras that runs; JAX is the lightest.
.build/pictures/made: $(STAMPS)/docs docs/gallery.md docs/make_pictures.py $(CODE)
	$(BIN)/python docs/make_pictures.py .build/pictures
	touch $@

# All pages anew: Sphinx does not warn again of one that has not changed, and a warning is an error.
.build/docs/made: .build/pictures/made $(wildcard *.md) $(shell find docs decisions -type f)
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going \
	  -c docs -d .build/doctrees . .build/docs
	touch $@

$(TEST_STAMP): $(STAMPS)/venv pyproject.toml constraints.txt
	$(INSTALL) -e ".[dev,$(BACKEND_EXTRAS)]" $(WITH_JAX)
	touch $@ $(STAMPS)/check

# A folder that stands first on the path of one job: cheaper than a second environment.
$(STAMPS)/oldest-keras: $(STAMPS)/venv Makefile
	rm -rf $(VENV)/oldest-keras
	$(PIP) install --quiet --no-deps --target $(VENV)/oldest-keras keras==$(OLDEST_KERAS)
	touch $@

# What the benchmarks stand beside; WeightWatcher's own dependencies that are not here already.
PEERS := weightwatcher==0.7.7 powerlaw matplotlib contourpy cycler fonttools kiwisolver pyparsing pillow tqdm pandas \
  python-dateutil scikit-learn joblib safetensors

$(STAMPS)/peers: $(STAMPS)/venv Makefile
	rm -rf $(VENV)/peers
	$(PIP) install --quiet --no-deps --target $(VENV)/peers $(PEERS)
	touch $@
