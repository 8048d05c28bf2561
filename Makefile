# make demo   create .venv, install the package, segment the example images
# make test   create .venv (2.8 GB; 0.8 GB with EXTRAS=dev), install the package, run the tests (test-all: slow ones, too)
# make hostile   run all fault tests and fuzzers: kills, full disks, damaged files
# make docs   build the documentation site in site/
# make lock   update constraints-ci.txt after a change of constraints-dev.txt or pyproject.toml
# make sanitize   run the C++ tests under the address, undefined-behavior and thread sanitizers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

EXTRAS := train,openvino,heif,hub,video,web,bulk,docs,dev
# All packages, for Linux and Python 3.11. Elsewhere: make LOCK=
LOCK := -c constraints-ci.txt

NATIVE := CMakeLists.txt pyproject.toml $(wildcard src/native/*.* src/native/*/*)
CPP := $(wildcard src/native/*.cpp src/native/*.hpp src/native/*/*.cpp src/native/*/*.hpp tests/native/*.cpp tests/native/*.hpp)

.PHONY: help demo test test-all hostile docs lock sanitize sanitize-% lint format stub bench clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The package with its core dependencies, without PyTorch.
$(VENV)/.installed: $(BIN)/python $(NATIVE)
	$(PIP) install -q -e . -c constraints-dev.txt $(LOCK)
	@touch $@

$(VENV)/.developer: $(BIN)/python $(NATIVE) constraints-dev.txt constraints-ci.txt
	$(PIP) install -q -e '.[$(EXTRAS)]' -c constraints-dev.txt $(LOCK)
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/atrous segment examples/*.jpg --out segmentation --overwrite
	@echo "masks and overlays: segmentation/"

test: $(VENV)/.developer
	$(BIN)/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.developer
	$(BIN)/python -m pytest

# Runs TIMES as many random cases as `make test`. SEED selects them.
TIMES := 20
SEED := 0
hostile: $(VENV)/.developer
	HOSTILE_TIMES=$(TIMES) HOSTILE_SEED=$(SEED) $(BIN)/python -m pytest tests/hostile tests/test_whole_files.py

# Downloads nothing, checks links and anchors. To view the site: python -m http.server -d site
docs: $(VENV)/.developer
	$(BIN)/python docs/write_commands.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Installs nothing. Omits setuptools, which every new environment has, and local version suffixes such as torch's +cpu.
lock: $(BIN)/python
	$(PIP) install -q --dry-run --ignore-installed --report $(VENV)/report.json '.[$(EXTRAS)]' -c constraints-dev.txt
	$(BIN)/python -c "import json, pathlib, re; \
	  found = [one['metadata'] for one in json.load(open('$(VENV)/report.json'))['install']]; \
	  pins = {re.sub('[-_.]+', '-', one['name']).lower(): one['version'].split('+')[0] for one in found}; \
	  pins = [f'{name}=={pins[name]}' for name in sorted(pins.keys() - {'atrous', 'setuptools'})]; \
	  path = pathlib.Path('constraints-ci.txt'); \
	  head = [line for line in path.read_text().splitlines() if line.startswith('#')]; \
	  path.write_text('\\n'.join(head + pins) + '\\n')"

# Needs CMake and doctest (Debian: apt install cmake doctest-dev).
sanitize: sanitize-address,undefined,float-cast-overflow sanitize-thread

sanitize-%:
	cmake -S . -B build/$@ -DATROUS_NATIVE_TESTS=ON -DATROUS_SANITIZE=$* -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1
	cmake --build build/$@ --parallel 2
	ctest --test-dir build/$@ --output-on-failure --parallel 2

lint: $(VENV)/.developer
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CPP)

format: $(VENV)/.developer
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CPP)

# After a change to src/native/bindings.cpp.
stub: $(VENV)/.developer
	$(BIN)/python -m nanobind.stubgen -q -m atrous._native -o src/atrous/_native.pyi

bench: $(VENV)/.developer
	$(BIN)/python benchmarks/crf.py
	$(BIN)/python benchmarks/segment.py

clean:
	rm -rf $(VENV) build segmentation site
