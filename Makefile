# make demo | test | test-all | check | bench | picture        Everything is installed into .venv; only test-all asks apt.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= .demo

.PHONY: help setup demo test test-all test-long check format bench soak picture screenshots clean

help:
	@echo "make demo     set up, then run a team of agents on a real document, on the offline model"
	@echo "make test     set up, then run the tests; without Chromium those of the page are left out"
	@echo "make test-all the same with Chromium and Xvfb, which it installs with apt where they are missing"
	@echo "make test-long  the kills and mutants that test leaves to it"
	@echo "make check    format, lint, types, import rules"
	@echo "make bench    measure here, beside Redis, NATS and AutoGen: writes docs/performance.md"
	@echo "make soak     ten minutes of faults against real processes (MINUTES=, SEED=): writes docs/reliability.md"
	@echo "make picture  draw the README's pictures from a run made now"
	@echo "make screenshots  the page, light and dark, from a run made now (needs Chromium)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run

setup: $(VENV)/.run

demo: $(VENV)/.run
	@mkdir -p -m 700 $(DEMO)
	$(BIN)/python run_hub.py "Should the city convert the night bus depot to electric buses?" \
		--file examples/night-bus-depot.md --llm offline --data $(DEMO) --out $(DEMO)/answer.md

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 4 --hypothesis-profile=same
	@command -v chromium >/dev/null || echo "left out: tests/browser, for want of Chromium (make test-all installs it)"

test-all: $(VENV)/.dev
	@command -v chromium >/dev/null && command -v Xvfb >/dev/null || { command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
			chromium fonts-liberation xvfb >/dev/null; } || \
		{ echo "no Chromium and Xvfb, and apt-get cannot install them here: install them by hand"; exit 1; }
	FELIXHUB_BROWSER=required $(BIN)/python -m pytest -n 4 --hypothesis-profile=same

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -n 4 -m long
	$(BIN)/python -m pytest -n 4 tests/core # its properties, by new examples

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks.peers.install
	@touch $@ $(VENV)/.dev $(VENV)/.run

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.run --write

soak: test-long
	$(BIN)/python tests/soak/soak.py --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) --write

picture: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[picture]'
	$(BIN)/python run_hub.py "Should the city convert the night bus depot to electric buses?" \
		--file examples/night-bus-depot.md --llm offline --data $(DEMO) --view json > docs/recording.jsonl
	$(BIN)/python docs/picture.py docs/recording.jsonl docs/run.svg
	$(BIN)/python docs/helix_picture.py docs/recording.jsonl docs/helix.svg

screenshots: $(VENV)/.dev
	$(BIN)/python -m docs.screenshots docs

clean:
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
