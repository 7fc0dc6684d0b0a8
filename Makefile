# The commands of the course; `make help` lists them. bin/setup makes .venv ready first, in an instant when it is so already.
# PYTHON, ARGS and DEVICE reach the scripts through the environment or the lines below: make lab PYTHON=python3.12

medattack = .venv/bin/python -m medattack_edu

ifdef DEVICE
export MEDATTACK_DEVICE = $(DEVICE)
endif

.PHONY: help lab test run bench build guide site

help: ## list these commands
	@sed -n 's/^\([a-z]*\): ## /  make \1#/p' Makefile | awk -F'#' '{printf "%-14s%s\n", $$1, $$2}'
	@echo '  ARGS="..." is passed on, for example: make lab ARGS="--no-browser --port 9999"'

lab: ## open the course in JupyterLab
	@bin/setup learner
	@$(medattack) lab -- $(ARGS)

test: ## run every test (DEVICE=cuda for a GPU; ARGS="tests/unit -k eps" for a part)
	@bin/setup dev
	@bin/test $(ARGS)

run: ## run every lesson without a browser; one HTML page each in reports/
	@bin/setup learner
	@$(medattack) run $(ARGS)

bench: ## measure speed side by side with other libraries (more such scripts are in benchmarks/)
	@bin/setup dev
	@.venv/bin/python -m benchmarks.side_by_side $(ARGS)

build: ## make the notebooks from solutions/*.py (ARGS=--check only compares)
	@bin/setup learner
	@$(medattack) build $(ARGS)

guide: ## gather the teaching notes of all lessons on one page, reports/guide.html
	@bin/setup learner
	@$(medattack) guide $(ARGS)

site: ## make a static site of all lessons in reports/site/, with search (ARGS="03 04" for some)
	@bin/setup site
	@$(medattack) site $(ARGS)
