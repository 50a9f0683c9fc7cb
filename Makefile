# Every goal sets up what it needs, in an environment of its own under .venvs/. Prerequisites: Python >= 3.11, git, build-essential.
#
#   make conformance      check the shipped C and CUDA kernels and two libraries, then draw the figures (light: no torch)
#   make conformance-all  the same and every other implementation there is here: Hugging Face's I-BERT, Triton, OpenCL, ONNX, LiteRT, … (installs torch)
#   make verdicts         put what conformance-all found into the README's table
#   make test             the tests of refsim itself, linters, types; without the slow ones and those that need torch: MARKS= runs these too
#   make docs             the documentation as a site with search, out/site/index.html; a link or an anchor that leads nowhere fails
#   make gallery          draw the figures of reports/gallery anew, and their part of reports/README.md
#   make bench            benchmarks, one thread, beside Hugging Face's modules and C by hand; puts tables and figures into docs/benchmarks.md
#   make gpu              check on this machine's GPU whatever runs on one, with PYTHON and its torch as they are: nothing is installed
#   make nightly          what takes longer: all mutants at default effort, fuzzing, races, make mutmut
#   make mutmut           mutation of the simulator's own source, judged by the golden vectors
#   make clean            remove environments, builds and caches
#
# Variables: PYTHON (an interpreter, for every goal), JOBS (processes of `make test`), TESTS and MARKS (what it runs), GPU_OUT (a folder).

# Commands start dozens of interpreters, which would all compile refsim anew.
unexport PYTHONDONTWRITEBYTECODE

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first that runs (a pyenv shim may stand for nothing), is new enough and can make environments.
usable = $(shell for p in $(1); do "$$p" -c 'import ensurepip, sys, venv; assert sys.version_info >= (3, 11); print(sys.executable)' \
	2>/dev/null && break; done)
LIGHT_PYTHON := $(call usable,$(or $(PYTHON),python3.13 python3.12 python3.11 python3))
# torch's small build is not to be had for every Python.
HEAVY_PYTHON := $(call usable,$(or $(PYTHON),python3.11 python3.12 python3.13 python3))

TORCH := torch==2.13.0
JOBS := 2
TESTS := tests
MARKS := not slow and not heavy and not nightly
GPU_OUT := out/gpu
REPORTS := out/conformance.json out/interpreted.json
LIGHT_TARGETS := c cuda apytypes onnxruntime
HEAVY_TARGETS := huggingface huggingface:float32 opencl onnx onnxruntime:qlinearmatmul litert litert:int8 tflm vela
# A launch of these takes ten times as long.
INTERPRETED_TARGETS := triton onnx:reference

LIGHT := .venvs/light
HEAVY := .venvs/heavy
TEST := .venvs/test
MUTATION := .venvs/mutation
LIGHT_WANTS := -e '.[rules,reports,analysis]'
HEAVY_WANTS := -e '.[rules,reports,analysis,model,hf,triton,opencl,onnx,tflite,cluster,test]'
TEST_WANTS := -e '.[dev,model,rules,reports,analysis,docs]'
MUTATION_WANTS := -e '.[mutation]'

.PHONY: help conformance conformance-all verdicts test docs gallery bench gpu nightly mutmut clean

help:
	@sed -n '/^#   make/s/^#   //p' Makefile

# Modules are compiled when they are first imported: most of the heavy packages never are. uv installs within seconds, but reads no
# settings of pip's: where it finds no index, pip does it. A stamp is written last, so an installation that failed or was interrupted
# is begun afresh.
define environment
@test -n "$(1)" || { echo "No Python >= 3.11 with venv was found. Install one (Debian: python3 python3-venv), or name it: make PYTHON=..." >&2; exit 1; }
@echo "Setting up $(@D) with $(1)"
@$(1) -m venv --clear $(@D)
@$(@D)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check uv $(3)
@$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python $(2) \
	|| $(@D)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check $(2)
@touch $@
endef

$(LIGHT)/.installed: pyproject.toml Makefile
	$(call environment,$(LIGHT_PYTHON),$(LIGHT_WANTS))

$(TEST)/.installed: pyproject.toml Makefile
	$(call environment,$(LIGHT_PYTHON),$(TEST_WANTS))

$(MUTATION)/.installed: pyproject.toml Makefile
	$(call environment,$(LIGHT_PYTHON),$(MUTATION_WANTS))

$(HEAVY)/.installed: pyproject.toml Makefile
	$(call environment,$(HEAVY_PYTHON),$(HEAVY_WANTS),$(TORCH))

conformance: $(LIGHT)/.installed
	$(LIGHT)/bin/refsim check $(LIGHT_TARGETS)
	mkdir -p out
	$(LIGHT)/bin/refsim report --out out/report

conformance-all: $(HEAVY)/.installed
	mkdir -p out
	$(HEAVY)/bin/refsim check $(LIGHT_TARGETS) $(HEAVY_TARGETS) --skip-missing --json out/conformance.json
	$(HEAVY)/bin/refsim check $(INTERPRETED_TARGETS) --effort quick --skip-missing --json out/interpreted.json
	$(HEAVY)/bin/refsim report --out out/report

verdicts: $(firstword $(REPORTS))
	$(HEAVY)/bin/refsim table $(REPORTS) --into README.md

$(firstword $(REPORTS)):
	$(MAKE) conformance-all

# pytest fails where it finds no test (exit code 5).
test: $(TEST)/.installed
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy & types=$$!; \
	$(TEST)/bin/python -m pytest -n $(JOBS) --dist worksteal -m '$(MARKS)' $(TESTS); found=$$?; \
	wait $$types && exit $$found

# The pages lie as in the repository, so that their links are right in both. (With --quiet, --strict would see no warning.)
docs: $(TEST)/.installed
	rm -rf out/site.src
	mkdir -p out/site.src
	git ls-files -z '*.md' '*.png' '*.svg' 'docs/*.csv' '*.ipynb' CITATION.cff tests/mutation/judge.py ':!refsim' | xargs -0 cp --parents -t out/site.src
	NO_MKDOCS_2_WARNING=1 $(TEST)/bin/mkdocs build --strict

gallery: $(TEST)/.installed
	$(TEST)/bin/python reports/_gallery.py

ALONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(HEAVY)/bin/python
BENCH := $(ALONE) -m pytest -p no:xdist --benchmark-only
# The allocator gives no memory back, as no long-running service lets it: else Hugging Face's modules mostly wait for pages.
LARGE := 8589934592

bench: $(HEAVY)/.installed
	mkdir -p out
	$(BENCH) tests/bench --benchmark-json=out/bench.json
	MALLOC_MMAP_THRESHOLD_=$(LARGE) MALLOC_TRIM_THRESHOLD_=$(LARGE) $(BENCH) tests/bench/test_speed.py --benchmark-json=out/bench-tuned.json
	$(HEAVY)/bin/python tests/bench/table.py out/bench.json out/bench-tuned.json docs/benchmarks.md
	$(ALONE) tests/bench/scaling.py docs/benchmarks
	$(ALONE) tests/bench/encoder.py docs/benchmarks.md

gpu:
	PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" $(or $(PYTHON),python3) implementations/gpu.py --out $(GPU_OUT)

nightly: export REFSIM_REQUIRE_ALL := 1
nightly: export REFSIM_FUZZ_SECONDS := 60
nightly: $(HEAVY)/.installed $(TEST)/.installed
	mkdir -p out
	$(HEAVY)/bin/refsim score --effort default --out out/score
	$(HEAVY)/bin/python -m pytest -n $(JOBS) --dist worksteal -m nightly tests
	$(TEST)/bin/python -m pytest tests/fuzz
	$(HEAVY)/bin/refsim check c cuda opencl --effort nightly
	$(HEAVY)/bin/refsim check $(INTERPRETED_TARGETS)
	REFSIM_TRITON_CHECKED=1 $(HEAVY)/bin/refsim check triton --effort quick
	$(HEAVY)/bin/python implementations/opencl/races.py
	$(MAKE) mutmut

mutmut: $(MUTATION)/.installed
	$(MUTATION)/bin/python tests/mutation/run.py out/mutation

clean:
	rm -rf .venvs .tox build dist out .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
