# Every target works on a bare clone: what it needs is installed first, once, into $(VENV).
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready-$(shell cat setup.cfg constraints.txt | sha256sum | cut -c1-16)

# What a command works on: the DATA named, else what the newest `make features` made, else the storyworld.
DATA ?=
NAME := $(if $(DATA),$(notdir $(patsubst %/,%,$(DATA))),$(if $(filter features plan demo crossval,$(MAKECMDGOALS)),storyworld,$(or \
	$(shell cat artifacts/current 2>/dev/null),storyworld)))
FEATURES ?= artifacts/$(NAME)/features
RUN ?= $(if $(filter %/features,$(FEATURES)),$(patsubst %/features,%/run,$(FEATURES)),artifacts/$(notdir $(FEATURES))/run)
WORLD := artifacts/storyworld/data
PHOTOS := $(or $(DATA),$(WORLD))
WEIGHTS ?= $(if $(DATA),imagenet,random)
PRESET ?= $(if $(filter storyworld,$(NAME)),small,paper)
TASK ?= next
SPLIT ?= test
VIEWS ?=
NPROC ?= 1
OUT ?= $(RUN)-finetuned
JOBS ?= 1
FOLDS ?= 5
CROSSVAL ?= artifacts/$(NAME)/crossval
ARGS ?=

# More than one process: torchrun starts them, each takes its share by rank.
python = $(if $(filter 1,$(NPROC)),$(PY),$(VENV)/bin/torchrun --standalone --nproc-per-node $(NPROC))

.PHONY: help demo test test-slow lint world plan features verify inspect train finetune eval runs compare ablate \
	crossval bench

help:  ## this list
	@echo "Visual storytelling experiments that cost minutes. Start with: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: DATA= (a folder in VIST's annotation format; unset: the embedded storyworld), FEATURES=, RUN=,"
	@echo "WEIGHTS=random|imagenet|PATH, PRESET=paper|small, SPLIT=, NPROC=, ARGS='flags of the python -m command below it'."
	@echo "Now: FEATURES=$(FEATURES) RUN=$(RUN)"

$(STAMP): setup.cfg constraints.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned packages into $(VENV) (several GB with torch, a few minutes, once) ..."
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[dev]'
	@rm -rf build *.egg-info $(VENV)/.ready-*
	@touch $@

demo:  ## storyworld -> features -> train -> eval -> page, in minutes, no download beyond the packages
	@$(MAKE) features DATA=
	@$(MAKE) train DATA= FEATURES=artifacts/storyworld/features PRESET=small
	@$(MAKE) eval DATA= FEATURES=artifacts/storyworld/features

test: $(STAMP)  ## the test suite
	@$(PY) -m pytest -q

test-slow: $(STAMP)  ## the long campaigns: kills, full disks, scale
	@$(PY) -m pytest -q -m slow --timeout 1800

lint: $(STAMP)  ## flake8 and mypy
	@$(VENV)/bin/flake8
	@$(VENV)/bin/mypy

world: $(STAMP)
	@$(if $(DATA),:,$(PY) -m data storyworld --out $(WORLD))

plan: world  ## what extraction would do: counts, missing, bytes, hours (DATA FEATURES)
	@$(PY) -m extract plan $(FEATURES) --data $(PHOTOS) --weights $(WEIGHTS) $(ARGS)

features: world  ## run the backbone once over every photo (DATA FEATURES WEIGHTS VIEWS NPROC ARGS)
	@$(python) -m extract --data $(PHOTOS) --out $(FEATURES) --weights $(WEIGHTS) \
		$(if $(DATA),,--thumbnails 160) $(if $(VIEWS),--views $(VIEWS)) $(ARGS)
	@mkdir -p artifacts && echo $(NAME) > artifacts/current

verify: $(STAMP)  ## check a features folder (FEATURES; ARGS=--full reads every byte)
	@$(PY) -m extract verify $(FEATURES) $(ARGS)

inspect: $(STAMP)  ## show what a features folder holds (FEATURES)
	@$(PY) -m extract inspect $(FEATURES) $(ARGS)

train: $(STAMP)  ## train on the features, no photo is opened (FEATURES RUN PRESET TASK NPROC ARGS)
	@$(python) -m train --features $(FEATURES) --out $(RUN) --preset $(PRESET) --task $(TASK) $(ARGS)

finetune: world  ## train a run further through the backbone, on the photos (RUN DATA FEATURES OUT NPROC ARGS)
	@$(python) -m train.finetune --init $(RUN) --data $(PHOTOS) --features $(FEATURES) --out $(OUT) $(ARGS)

eval: $(STAMP)  ## numbers beside baselines, and a page (RUN FEATURES DATA SPLIT ARGS)
	@$(PY) -m evaluate --run $(RUN) --features $(FEATURES) --split $(SPLIT) $(if $(DATA),--data $(DATA)) $(ARGS)

ablate: $(STAMP)  ## a grid of cheap trainings, one table, one plot (FEATURES GRID JOBS)
	@$(PY) -m evaluate ablate --features $(FEATURES) $(if $(GRID),--grid $(GRID)) --jobs $(JOBS) $(ARGS)

crossval: world  ## grouped folds: features once, each fold trained and evaluated, one table (DATA FOLDS JOBS CROSSVAL ARGS)
	@$(PY) -m evaluate crossval $(PHOTOS) --out $(CROSSVAL) --features $(FEATURES) --folds $(FOLDS) --jobs $(JOBS) \
		--preset $(PRESET) $(if $(filter file,$(origin WEIGHTS)),$(if $(DATA),,--weights random),--weights $(WEIGHTS)) $(ARGS)

runs: $(STAMP)  ## list runs: what differs, headline numbers (RUNS)
	@$(PY) -m evaluate runs $(or $(RUNS),artifacts) $(ARGS)

compare: $(STAMP)  ## paired comparison of runs (RUNS="a b")
	@$(PY) -m evaluate compare $(RUNS) --split $(SPLIT) $(ARGS)

bench: $(STAMP)  ## measure against named peers and limits, one table (DATA for the drift; ARGS="NAME ... --quick")
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[dev,bench]'
	@rm -rf build *.egg-info
	@$(PY) -m tests.benchmarks $(if $(DATA),--data $(DATA)) $(ARGS)
