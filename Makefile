# `make demo` and `make test` need Python 3.10 to 3.13 and nothing else: each makes .venv and installs into it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile
DEMO := demo

.PHONY: help demo test test-all test-extras test-quick rehearsal bench format readme clean

help:
	@echo "make demo        train two teams on digits, check them, play a league and a knock-out: under 8 minutes on 2 cores"
	@echo "make test        lint and the test suite"
	@echo "make test-all    what make test leaves out: every attack, every mutation"
	@echo "make test-extras what needs the packages of all extras"
	@echo "make test-quick  the tests that take a few seconds"
	@echo "make rehearsal   a whole contest in buckets, against a storage emulator: under 2 minutes"
	@echo "make bench       measure speed against peers and the machine, and write one table: on a machine that does nothing else"
	@echo "make format      format the code"
	@echo "make readme      write the generated tables of the README anew"

.venv/installed: setup.py pyproject.toml gan/__init__.py
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found; install one, or run: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' || { echo "error: $(PYTHON) has no ensurepip; on Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip  # the pip of Python 3.10 searches for versions for many minutes
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

.venv/installed-extras: .venv/installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,test-extras]'
	@touch $@

# The models are the demo's own, so they may run without bubblewrap where it is missing.
demo: .venv/installed
	@mkdir -p $(DEMO)
	@echo "--- team Convolution trains the default preset, team Sample the sample models"
	$(BIN)/python -m gan.train --train_dir=$(DEMO)/convolution --image_dir=$(DEMO)/pictures \
		--num_epochs=200 --max_steps=3000
	$(BIN)/python -m gan.train --preset=sample --train_dir=$(DEMO)/sample --seed=1 --num_epochs=200 --max_steps=2000
	$(BIN)/python -m gan.eval --train_dir=$(DEMO)/convolution
	$(BIN)/python -m gan.linear_interpolation --train_dir=$(DEMO)/convolution --output_file=$(DEMO)/interpolation.png
	@echo "--- check: may team Convolution battle?"
	$(BIN)/python -m gan.check_submission --train_dir=$(DEMO)/convolution --output_dir=$(DEMO)/check
	@echo "--- league: every generator against every discriminator, with house opponents"
	@printf 'name,submission\nConvolution,$(DEMO)/convolution\nSample,$(DEMO)/sample\n' > $(DEMO)/teams.csv
	$(BIN)/python -m gan.tournament --teams=$(DEMO)/teams.csv --format=league --sandbox=auto --output_dir=$(DEMO)/league
	@echo "--- knock-out: a final of three rounds"
	$(BIN)/python -m gan.tournament --teams=$(DEMO)/teams.csv --sandbox=auto --output_dir=$(DEMO)/knockout
	@echo
	@echo "Done. Worth opening:"
	@echo "  $(DEMO)/knockout/index.html            the knock-out: watch the final, image by image"
	@echo "  $(DEMO)/league/index.html              ratings, matrix, memorisation reports"
	@echo "  $(DEMO)/pictures/training.gif          how the digits took shape"
	@echo "  $(DEMO)/convolution/eval/generate.png  64 generated digits"
	@echo "  $(DEMO)/interpolation.png              the way between four digits"
	@echo "  $(DEMO)/convolution                    a submission; curves: $(BIN)/tensorboard --logdir=$(DEMO)"

.venv/installed-bench: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) -m "not exhaustive and not extras"

test-all: .venv/installed-test
	$(PYTEST) -m "exhaustive and not extras"

test-extras: .venv/installed-extras
	$(PYTEST) -m extras

test-quick: .venv/installed-test
	$(PYTEST) -m "not slow and not exhaustive and not extras"

rehearsal: .venv/installed-test
	@rm -rf rehearsal
	$(BIN)/python -m examples.rehearsal --folder=rehearsal

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: .venv/installed-test
	$(BIN)/python docs/flag_tables.py

clean:
	rm -rf .venv bench demo rehearsal build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
