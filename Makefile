# `make all` runs everything. `make` alone lists the targets.
#
#   MODEL=models/portrait   the model's folder (it may lie outside the repository)
#   RECIPES="float16 w8"    recipes to export; empty: the recipes of the model's budget.toml
#   OUT=build               where artifacts, evidence and the report go
#   SAMPLES=dir             more photos to judge by; they are copied nowhere
#   CALIBRATE=dir           more photos to calibrate by; they are copied nowhere
#   AGAIN=1                 measure anew what has not changed since an earlier run
#   PORT=8123               where make demo serves, on localhost
#   ARM_SAMPLES=1           judging samples that parity-arm runs, evenly spread; 0: all
#   TOOL=path               LiteRT's benchmark_model for arm64 Android, for make bench-android
#   DEVICE=serial           which attached device, where there are several
#   PYTHON=python3.11       the interpreter the environment is made from
#   TORCH_INDEX=url         an extra package index for PyTorch. Where plain pip would fetch PyTorch's CUDA build
#                           (several GB, never used here), take the CPU build from PyTorch's own index:
#                           make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
#   LOCK=file               install the Python packages of a lock, by their hashes (scripts/lock.py writes one)

MODEL ?= models/portrait
RECIPES ?=
OUT ?= build
SAMPLES ?=
CALIBRATE ?=
AGAIN ?=
PORT ?= 8123
ARM_SAMPLES ?= 1
TOOL ?=
DEVICE ?=
PYTHON ?=
TORCH_INDEX ?=
LOCK ?=
export MODEL RECIPES OUT SAMPLES CALIBRATE AGAIN ARM_SAMPLES TOOL DEVICE PYTHON TORCH_INDEX LOCK

# Test workers. Two fit in 16 GB; TEST_WORKERS=0 runs the tests in one process.
TEST_WORKERS ?= 2

# One thread: a sum's order, and with it the last bits of an artifact, must not depend on the number of cores.
# The latency benchmark sets its own number.
OMP_NUM_THREADS ?= 1
OPENBLAS_NUM_THREADS ?= 1
MKL_NUM_THREADS ?= 1
export OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS

BIN := .venv/bin
VENV := .venv/.setup-stamp
NODE := node_modules/.setup-stamp
BUNDLE = $(BIN)/python -m export bundle --model "$(MODEL)" --out "$(OUT)" $(RECIPES:%=--recipe %)
PACKAGES := hydramobile reference export benchmarks demo ship

.DEFAULT_GOAL := help
.PHONY: help setup doctor export export-ios export-android export-web goldens parity parity-arm instructions bench grid calibration \
	bundle-ios bundle-android bundle-web bench-android bench-ios report all demo train qat eval ops docs check lint format types imports js test test-all campaign clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@awk '/^#   [A-Z]/ {sub(/^#   /, "  "); print; on = 1; next} on && /^#    / {sub(/^#   /, "  "); print; next} {on = 0}' $(MAKEFILE_LIST)

setup: $(VENV) $(NODE) ## install everything this project needs (once; instant after that)

$(VENV): pyproject.toml constraints.txt scripts/setup.sh
	@bash scripts/setup.sh python
	@touch $@

$(NODE): package.json package-lock.json .npmrc
	@bash scripts/setup.sh node
	@touch $@

doctor: setup ## list the installed packages, the targets and runtimes that work here, and why others do not
	@bash scripts/run.sh doctor

export: setup ## export every target
	@bash scripts/run.sh export

export-ios: setup ## export for iOS (coreml)
	@bash scripts/run.sh export-ios

export-android: setup ## export for Android (litert)
	@bash scripts/run.sh export-android

export-web: setup ## export for the web (onnx, tfjs)
	@bash scripts/run.sh export-web

goldens: setup ## freeze the reference's inputs and outputs
	@bash scripts/run.sh goldens

parity: setup ## compare the outputs of each artifact with the reference's (exports first)
	@bash scripts/run.sh export+goldens parity

parity-arm: setup ## the .tflite and ONNX files as ARM code, emulated (sets its userland up the first time: 85 MB)
	@bash scripts/run.sh parity-arm

instructions: setup ## ARM instructions per inference, against the model's reviewed baseline (work, not time)
	@bash scripts/run.sh instructions

bench: setup ## size, static cost, latency, the whole grid in interleaved rounds, and profiles (exports first)
	@bash scripts/run.sh export+goldens size+cost latency grid profile

grid: setup ## measure every recipe of every target: parity, size, latency; renews support.json (resumable; about an hour)
	@bash scripts/run.sh support

calibration: setup ## compare the losses of static int8 by calibration method, number of samples, equalization
	@bash scripts/run.sh calibration

bench-android: setup ## judge and time on an attached Android device (TOOL=path/to/benchmark_model)
	@bash scripts/setup.sh android
	@bash scripts/run.sh export-android goldens device-adb report

bench-ios: setup ## judge and time on an attached iPhone (on a Mac; DEVICE=mac: on the Mac itself)
	@bash scripts/run.sh export-ios goldens $(if $(filter mac,$(DEVICE)),device-mac,device-ios) report

bundle-ios: setup ## a Swift package from files that passed parity (RECIPES=one recipe; empty: the smallest that ships)
	$(BUNDLE) ios

bundle-android: setup ## a Gradle module, likewise
	$(BUNDLE) android

bundle-web: setup ## an npm package, likewise
	$(BUNDLE) web

report: setup ## one report of the evidence (gathers missing evidence first)
	@bash scripts/run.sh evidence report

all: setup ## export, judge, measure and report everything; fails when any of it failed
	@bash scripts/run.sh export+goldens parity+size+cost latency profile report

demo: setup ## the web demo on localhost, with the artifacts that passed parity
	$(BIN)/python -m demo serve --model "$(MODEL)" --out "$(OUT)" --port "$(PORT)"

# Training and evaluation serve to make new weights. DATA, VALIDATION and TEST are folders of views
# (python -m reference synthesize, photos); RESUME is the folder of an interrupted run.
TRAIN_MINUTES ?= 0
train: setup ## train the portrait: DATA="..." [VALIDATION=...] [RUN=...] [TRAIN_MINUTES=50], or DATA=... RESUME=...
	$(BIN)/python -m reference train $(DATA) $(VALIDATION:%=--validation %) \
	  $(if $(RESUME),--resume $(RESUME),$(RUN:%=--out %) $(if $(filter-out 0,$(TRAIN_MINUTES)),--set minutes=$(TRAIN_MINUTES)))

# A recipe of few bits names the file with `weights = "..."` (recipes.toml); parity judges it against the model's own.
QAT_STEPS ?= 300
qat: setup ## fine-tune for few bits: DATA="..." [VALIDATION=...] [RECIPE=w4] [RUN=build/qat] [QAT_STEPS=300]
	$(BIN)/python -m reference qat $(DATA) $(VALIDATION:%=--validation %) $(RECIPE:%=--recipe %) $(RUN:%=--out %) \
	  --model "$(MODEL)" --steps $(QAT_STEPS)

eval: setup ## measure the portrait against truth: TEST="..." REAL=dir [PEOPLE=dir] [WEIGHTS=file]
	$(BIN)/python -m reference evaluate $(TEST) $(REAL:%=--real %) $(PEOPLE:%=--people %) $(WEIGHTS:%=--weights %)

ops: setup ## renew docs/supported-ops.md from exports of PyTorch's op tests and of the tests' op cases (resumable; hours)
	$(BIN)/python scripts/supported_ops.py

docs: setup ## the site of docs/ in build/site (MkDocs Material, in an environment of its own)
	@bash scripts/setup.sh docs
	.venv/docs/bin/mkdocs build --strict --quiet

check: lint format types imports js ## static checks: ruff, mypy, import contracts; Biome and tsc for the JavaScript

lint: setup
	$(BIN)/ruff check .

format: setup
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports --no-logo

js: setup
	npm run --silent check

# A file of tests stays on one worker, so that its fixtures are computed once. Files start in the order of
# tests/conftest.py, the longest first. xdist's own order depends on the number of tests and leaves a long file for the end.
PYTEST := $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

test: setup check ## the checks and the tests
	$(PYTEST) -m "not slow"

test-all: setup check ## the checks and every test, the slow ones too
	$(PYTEST)

campaign: setup ## bad inputs and faults through the real command lines; renews docs/reliability.md (half an hour)
	PYTHONPATH=tests $(BIN)/python -m campaign --write

clean: ## remove build/ and the caches (the environment stays: .venv, node_modules)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
