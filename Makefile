# `make demo` and `make test` need Python 3.10 to 3.13 and nothing else: each makes .venv and installs into it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
DEMO := demo

.PHONY: help demo test test-quick format readme clean

help:
	@echo "make demo        train on digits, evaluate, check, battle: under 6 minutes on 2 cores"
	@echo "make test        lint and the whole test suite"
	@echo "make test-quick  the tests that take a few seconds"
	@echo "make format      format the code"
	@echo "make readme      write the generated tables of the README anew"

.venv/installed: setup.py pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found; install one, or run: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' || { echo "error: $(PYTHON) has no ensurepip; on Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip  # the pip of Python 3.10 searches for versions for many minutes
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

demo: .venv/installed
	$(BIN)/python -m gan.train --train_dir=$(DEMO)/model --image_dir=$(DEMO)/pictures \
		--generator_model=DCGANGenerator --discriminator_model=DCGANDiscriminator \
		--feature_size=48 --batch_size=64 --num_epochs=100 --max_steps=1500
	$(BIN)/python -m gan.eval --train_dir=$(DEMO)/model
	@echo "--- check: can the submission battle with 50 + 50 images?"
	$(BIN)/python -m gan.generate_and_discriminate --G_train_dir=$(DEMO)/model --D_train_dir=$(DEMO)/model \
		--num_generate=50 --output_dir=$(DEMO)/check > $(DEMO)/check.txt
	@tail -n 4 $(DEMO)/check.txt
	@echo "--- battle: the demo's generator against its own discriminator, 15 + 15 images"
	$(BIN)/python -m gan.generate_and_discriminate --G_train_dir=$(DEMO)/model --D_train_dir=$(DEMO)/model \
		--output_dir=$(DEMO)/battle
	$(BIN)/python -m gan.linear_interpolation --train_dir=$(DEMO)/model --output_file=$(DEMO)/interpolation.png
	@echo
	@echo "Done. Worth opening:"
	@echo "  $(DEMO)/pictures/training.gif      how the digits took shape"
	@echo "  $(DEMO)/model/eval/generate.png    64 generated digits"
	@echo "  $(DEMO)/model/eval/p_histogram.png what the discriminator believes"
	@echo "  $(DEMO)/battle/verdicts.png        the battle, image by image"
	@echo "  $(DEMO)/battle/result.json         the same in numbers"
	@echo "  $(DEMO)/interpolation.png          the way between four digits"
	@echo "  $(DEMO)/model                      the submission; curves: $(BIN)/tensorboard --logdir=$(DEMO)/model"

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

test-quick: .venv/installed-test
	$(BIN)/python -m pytest -m "not slow"

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: .venv/installed-test
	$(BIN)/python docs/flag_tables.py

clean:
	rm -rf .venv demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
