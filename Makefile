# Every target works on a bare clone: what it needs is installed first, once, into $(VENV).
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PYTHON ?= python3
VENV ?= .venv
$(if $(word 2,$(VENV)),$(error expected a VENV without blanks, found $(VENV)))
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready-$(shell cat setup.cfg constraints.txt | sha256sum | cut -c1-16)

# A path as one word of the shell, blanks and all (~/ is one's home in every shell); whether two texts are equal.
home = $(subst @@@,,$(subst @@@~/,$(HOME)/,@@@$(1)))
quote = '$(subst ','\'',$(call home,$(1)))'
equal = $(if $(subst x$(1)x,,x$(2)x)$(subst x$(2)x,,x$(1)x),,yes)

# What a command works on: the DATA named, else what the newest `make features` made (artifacts/current: its name, and
# on a second line its FEATURES), else the storyworld.
DATA ?=
URL ?=
MAKES := $(filter features plan demo crossval pull,$(MAKECMDGOALS))
PULLED := $(if $(filter pull,$(MAKECMDGOALS)),$(shell url=$(call quote,$(URL)); url=$${url%%\?*}; url=$${url%/}; \
	url=$${url%.tar}; basename -- "$${url%/features}"))
NEWEST := $(if $(MAKES),,$(shell sed -n 1p artifacts/current 2>/dev/null))
NAME := $(if $(DATA),$(shell basename -- $(call quote,$(DATA))),$(or $(NEWEST),$(PULLED),storyworld))
FEATURES ?= $(or $(if $(MAKES),,$(if $(call equal,$(NAME),$(NEWEST)),$(shell sed -n 2p artifacts/current \
	2>/dev/null))),artifacts/$(NAME)/features)
RUN ?= $(shell folder=$(call quote,$(FEATURES)); [[ "$$folder" == */features ]] && echo "$${folder%/features}/run" || \
	echo "artifacts/$$(basename -- "$$folder")/run")
WORLD := artifacts/storyworld/data
PHOTOS := $(or $(DATA),$(WORLD))
WEIGHTS ?= $(if $(DATA),imagenet,random)
PRESET ?= $(if $(filter storyworld,$(NAME)),small,base)
TASK ?= next
SPLIT ?= test
VIEWS ?=
NPROC ?= 1
OUT ?= $(RUN)-finetuned
JOBS ?= 1
FOLDS ?= 5
CROSSVAL ?= artifacts/$(NAME)/crossval
GRID ?=
RUNS ?=
SPLITS ?=
ARGS ?=

# What may be given is what has a default (?=) here: a misspelt variable would work on another folder, in silence.
KNOWN := $(shell sed -n 's/^\([A-Z]*\) ?=.*/\1/p' $(firstword $(MAKEFILE_LIST)))
UNKNOWN := $(filter-out $(KNOWN),$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
$(if $(UNKNOWN),$(error there is no variable $(firstword $(UNKNOWN)): did you mean $(shell $(PYTHON) -c 'import difflib, \
	sys; print(*(difflib.get_close_matches(sys.argv[1].upper(), sys.argv[2:], 1, 0) or sys.argv[2:3]))' \
	$(call quote,$(firstword $(UNKNOWN))) $(KNOWN))? See: make help))
$(if $(shell [[ $(call quote,$(NPROC)) =~ ^[1-9][0-9]*$$ ]] && echo yes),,$(error expected NPROC as a number of processes \
	from 1 on, found $(NPROC)))

# More than one process: torchrun starts them, each takes its share by rank.
python = $(if $(filter 1,$(NPROC)),$(PY),$(VENV)/bin/torchrun --standalone --nproc-per-node $(NPROC))

.PHONY: help demo test test-slow test-coverage test-mutation lint world fetch plan features verify inspect pack push pull train finetune \
	eval runs compare ablate crossval app bench bench-gpu test-gpu

help:  ## this list
	@echo "Visual storytelling experiments that cost minutes. Start with: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: DATA= (a folder in VIST's annotation format; unset: the embedded storyworld), FEATURES=, RUN=,"
	@echo "WEIGHTS=random|imagenet|PATH, PRESET=base|small|paper, SPLIT=, NPROC=, ARGS='flags of the python -m command below it'."
	@echo "Now:" FEATURES=$(call quote,$(FEATURES)) RUN=$(call quote,$(RUN))

$(STAMP): setup.cfg constraints.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned packages into $(VENV) (several GB with torch, a few minutes, once) ..."
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[dev]'
	@rm -rf build *.egg-info $(VENV)/.ready-*
	@touch $@

demo:  ## storyworld -> features -> train -> eval -> page, in minutes, no download beyond the packages
	@$(MAKE) features DATA=
	@$(MAKE) train DATA= FEATURES=artifacts/storyworld/features PRESET=small ARGS="--steps 1000"
	@$(MAKE) eval DATA= FEATURES=artifacts/storyworld/features

test: $(STAMP)  ## the test suite, a process a core
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q -n auto --dist loadfile

test-slow: $(STAMP)  ## the long campaigns: kills, full disks, scale
	@$(PY) -m pytest -q -m slow --timeout 1800

test-gpu: $(STAMP)  ## what only a CUDA device can show; skipped without one
	@$(PY) -m pytest -q -m gpu -rs --timeout 600

test-coverage: $(STAMP)  ## the test suite, and which branches it never took
	@$(PY) -m pytest -q --cov --cov-report=term-missing:skip-covered

test-mutation: $(STAMP)  ## change the code in 200 places: which changes does no test notice? (half an hour)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[dev,mutation]'
	@rm -rf build *.egg-info
	@$(PY) -m tests.mutation $(ARGS)

lint: $(STAMP)  ## ruff and mypy
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/mypy

world: $(STAMP)
	@$(if $(DATA),:,$(PY) -m data storyworld --out $(call quote,$(WORLD)))

fetch: $(STAMP)  ## download missing photos from where the annotations say they are (DATA ARGS)
	$(if $(DATA),,$(error make fetch needs DATA=, the folder whose photos are missing))
	@$(PY) -m data fetch $(call quote,$(DATA)) $(ARGS)

plan: world  ## what extraction would do: counts, missing, bytes, hours (DATA FEATURES)
	@$(PY) -m extract plan $(call quote,$(FEATURES)) --data $(call quote,$(PHOTOS)) --weights $(call quote,$(WEIGHTS)) $(ARGS)

features: world  ## run the backbone once over every photo (DATA FEATURES WEIGHTS VIEWS NPROC ARGS)
	@$(python) -m extract --data $(call quote,$(PHOTOS)) --out $(call quote,$(FEATURES)) --weights $(call quote,$(WEIGHTS)) \
		$(if $(DATA),,--thumbnails 160) $(if $(VIEWS),--views $(VIEWS)) $(ARGS)
	@mkdir -p artifacts && printf '%s\n' $(call quote,$(NAME)) $(call quote,$(FEATURES)) > artifacts/current

verify: $(STAMP)  ## check a features folder (FEATURES; ARGS=--full reads every byte)
	@$(PY) -m extract verify $(call quote,$(FEATURES)) $(ARGS)

inspect: $(STAMP)  ## show what a features folder holds (FEATURES)
	@$(PY) -m extract inspect $(call quote,$(FEATURES)) $(ARGS)

pack: $(STAMP)  ## a features folder, or some SPLITS of it, as one tar beside it (FEATURES SPLITS; ARGS="--out TAR")
	@$(PY) -m extract pack $(call quote,$(FEATURES)) $(if $(SPLITS),--splits $(SPLITS)) $(ARGS)

push: $(STAMP)  ## bring it where others can pull it: a folder, s3://, hf:// (URL FEATURES SPLITS ARGS)
	@$(PY) -m extract push $(call quote,$(FEATURES)) $(call quote,$(URL)) $(if $(SPLITS),--splits $(SPLITS)) $(ARGS)

pull: $(STAMP)  ## get one, or parts of one, from a folder, a tar, http(s)://, s3://, hf:// (URL FEATURES SPLITS ARGS)
	@$(PY) -m extract pull $(call quote,$(URL)) $(call quote,$(FEATURES)) $(if $(SPLITS),--splits $(SPLITS)) $(ARGS)
	@mkdir -p artifacts && printf '%s\n' $(call quote,$(NAME)) $(call quote,$(FEATURES)) > artifacts/current

train: $(STAMP)  ## train on the features, no photo is opened (FEATURES RUN PRESET TASK NPROC ARGS)
	@$(python) -m train --features $(call quote,$(FEATURES)) --out $(call quote,$(RUN)) --preset $(PRESET) --task $(TASK) $(ARGS)

finetune: world  ## train a run further through the backbone, on the photos (RUN DATA FEATURES OUT NPROC ARGS)
	@$(python) -m train.finetune --init $(call quote,$(RUN)) --data $(call quote,$(PHOTOS)) \
		--features $(call quote,$(FEATURES)) --out $(call quote,$(OUT)) $(ARGS)

eval: $(STAMP)  ## numbers beside baselines, and a page (RUN FEATURES DATA SPLIT ARGS)
	@$(PY) -m evaluate --run $(call quote,$(RUN)) --features $(call quote,$(FEATURES)) --split $(SPLIT) \
		$(if $(DATA),--data $(call quote,$(DATA))) $(ARGS)

app: $(STAMP)  ## a local page: photos of your own become a story (RUN FEATURES; ARGS="--port 8000 --keep DIR")
	@$(PY) -m evaluate app --run $(call quote,$(RUN)) --features $(call quote,$(FEATURES)) $(ARGS)

ablate: $(STAMP)  ## a grid of cheap trainings, one table, one plot (FEATURES GRID JOBS)
	@$(PY) -m evaluate ablate --features $(call quote,$(FEATURES)) $(if $(GRID),--grid $(call quote,$(GRID))) --jobs $(JOBS) $(ARGS)

crossval: world  ## grouped folds: features once, each fold trained and evaluated, one table (DATA FOLDS JOBS CROSSVAL ARGS)
	@$(PY) -m evaluate crossval $(call quote,$(PHOTOS)) --out $(call quote,$(CROSSVAL)) --features $(call quote,$(FEATURES)) \
		--folds $(FOLDS) --jobs $(JOBS) --preset $(PRESET) \
		$(if $(filter file,$(origin WEIGHTS)),$(if $(DATA),,--weights random),--weights $(call quote,$(WEIGHTS))) $(ARGS)

runs: $(STAMP)  ## list runs, others' cards too: what differs, headline numbers (RUNS)
	@$(PY) -m evaluate runs $(or $(RUNS),artifacts) $(ARGS)

compare: $(STAMP)  ## paired comparison of runs (RUNS="a b")
	@$(PY) -m evaluate compare $(RUNS) --split $(SPLIT) $(ARGS)

bench: $(STAMP)  ## measure against named peers and limits, one table (DATA for the drift; ARGS="NAME ... --quick")
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[dev,bench]'
	@rm -rf build *.egg-info
	@$(PY) -m tests.benchmarks $(if $(DATA),--data $(call quote,$(DATA))) $(ARGS)

bench-gpu: $(STAMP)  ## images a second on a CUDA device beside what it could do, one page (ARGS)
	@$(PY) -m tests.benchmarks.gpu $(ARGS)
