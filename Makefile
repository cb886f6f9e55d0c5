# Every target does all of its own set-up: a virtual environment, PyTorch's CPU build, dcpx built from source.
VENV ?= .venv
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
SOURCES := pyproject.toml CMakeLists.txt pagedex/pyproject.toml $(shell find src pagedex/src -name '*.py' -o -name '*.pyi' -o -name '*.cpp' -o -name '*.hpp')

.DEFAULT_GOAL := help
.PHONY: help demo test lint style types imports format-cpp tests docs matrix bench bench-check soak trainers faults fuzz aarch64 wheels clean

help:  ## List the targets
	@sed -nE 's/^([a-z0-9-]+):.*  ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; \
		do printf '  make %-11s %s\n' "$$name" "$$what"; done

demo: $(VENV)/installed $(VENV)/demo  ## Save a real model with stock DCP and with dcpx, load back, compare every bit
	$(BIN)/python -m demo

# What CI does: each of its parts is a target of its own.
test: lint tests  ## Linters, types and every test, as CI runs them

lint: style types imports format-cpp  ## All that looks at the code without running it

style: $(VENV)/installed  ## Ruff's rules and its format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/installed  ## mypy --strict
	$(BIN)/mypy
	$(BIN)/mypy --config-file pagedex/pyproject.toml

imports: $(VENV)/installed  ## The direction of imports, the rooms that know torch, and the drawing of both
	$(BIN)/lint-imports
	cd pagedex && $(abspath $(BIN))/lint-imports
	$(BIN)/python design/rooms.py --check

format-cpp: $(VENV)/installed  ## The format of the kernels
	$(BIN)/clang-format --dry-run -Werror $(shell find src fuzz -name '*.cpp' -o -name '*.hpp')

tests: $(VENV)/installed $(VENV)/browser  ## Every test but the long ones
	$(BIN)/python -m pytest -n 2 --dist loadfile
	cd pagedex && $(abspath $(BIN))/python -m pytest -n 2

# The guides by Sphinx, a page for every file by pagedex beside them, one search over both.
docs: $(VENV)/installed  ## The documentation, into build/docs
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs build/docs
	$(BIN)/pagedex build . -o build/docs/code --name dcpx --form html --form markdown \
		--link 'Guides=../index.html' --rendered docs=..
	$(BIN)/pagedex check . -o build/docs/code

# Several GB to fetch. ONLY="2.15.0 3.10" takes the pairs with one of these. A Python that isn't on PATH is skipped.
matrix:  ## The suite's quick part on every torch and Python that is promised, each really installed
	$(PYTHON) tests/matrix.py $(ONLY)

# The peers that can be installed; one that can't is shown as missing in the table.
bench: $(VENV)/installed $(VENV)/demo  ## Speed and size beside the peers; writes bench/results
	-$(BIN)/pip install --quiet ".[bench]"
	$(BIN)/python -m bench codec --out bench/results/codec.json
	$(BIN)/python -m bench checkpoint --out bench/results/checkpoint.json
	$(BIN)/python -m bench memory --out bench/results/memory.json
	$(BIN)/python -m bench metadata --out bench/results/metadata.json
	$(BIN)/python -m bench stores --out bench/results/stores.json
	$(BIN)/python -m bench convert --out bench/results/convert.json
	$(BIN)/python -m bench background --out bench/results/background.json
	$(BIN)/python -m bench ranks --out bench/results/ranks.json
	$(BIN)/python -m bench cli --out bench/results/cli.json
	$(BIN)/python -m bench scale --out bench/results/scale.json

bench-check: $(VENV)/installed $(VENV)/demo  ## Hold the sizes that the codecs give against the committed results: a minute
	$(BIN)/python -m bench.check

# A thousand saves and loads with everything drawn at random, where `make test` does 25; every bit, length, state of a
# disk, request and pair of cases, where it takes a sample; and ten thousand states of any kind, and a thousand of ranks,
# where it does some hundred.
soak: $(VENV)/installed  ## Thousands of random saves and loads
	DCPX_STRESS=1000 $(BIN)/python -m pytest tests/soak tests/fault/test_all_bits.py \
		tests/fault/test_checkpoint_bits.py tests/fault/test_failing_calls.py tests/fault/test_power_loss.py \
		tests/fault/test_tensor_containers.py tests/property/test_float.py tests/stores/test_faults.py \
		--override-ini timeout=3600
	DCPX_EXAMPLES=10000 $(BIN)/python -m pytest tests/property/test_whatever_saves_loads.py \
		tests/dist/test_whatever_ranks_save.py --override-ini timeout=7200

# Libraries that go with torch and with one another are installed as usual, each other one into a folder of its own.
BESIDE := $(patsubst tests/trainers/requirements/%.txt,$(VENV)/trainers/%,$(wildcard tests/trainers/requirements/*.txt))

trainers: $(VENV)/installed $(BESIDE)  ## Trainings of real libraries, interrupted and resumed
	$(BIN)/pip install --quiet ".[test,trainers]"
	DCPX_TRAINERS=1 $(BIN)/python -m pytest tests/interop/test_torchao.py tests/trainers/test_trainings.py

$(VENV)/trainers/%: tests/trainers/requirements/%.txt $(VENV)/torch
	rm -rf $@
	$(BIN)/pip install --quiet --no-deps --target $@ -r $<

# What happens when something goes wrong: the table of docs/guarantees.md, each row by doing it, with stock DCP beside dcpx.
faults: $(VENV)/installed  ## The table of docs/guarantees.md, each row by doing it
	$(BIN)/python -m tests.fault.what_happens

fuzz:  ## Fuzz the kernels and the parsers
	$(MAKE) -C fuzz run SECONDS=600
	$(MAKE) -C fuzz python SECONDS=120

aarch64:  ## The kernels on aarch64, emulated
	$(MAKE) -C fuzz aarch64

# Zig comes with it, as a package; qemu is installed where that can be done. A Python that isn't found is named, and skipped.
wheels:  ## Every file of a release, for x86-64 and aarch64, into dist, each tried where no compiler is
	$(PYTHON) -m wheels

$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$(TORCH)"
	touch $@

# torch first and pinned: dcpx asks for no build of it, so none is pulled over this one.
$(VENV)/installed: $(VENV)/torch $(SOURCES)
	$(BIN)/pip install --quiet ".[test,demo,docs]" "./pagedex[languages,test]"
	touch $@

# The tests of reports and of pagedex' site need a real browser; as root on Debian it is fetched, elsewhere they say that it is missing.
$(VENV)/browser: $(VENV)/torch
	command -v chromium || ! command -v apt-get || [ "$$(id -u)" != 0 ] || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)
	touch $@

$(VENV)/demo: $(VENV)/installed demo/requirements.txt
	$(BIN)/pip install --quiet --no-deps -r demo/requirements.txt
	touch $@

clean:  ## Remove what was built and installed
	rm -rf $(VENV) build dist
