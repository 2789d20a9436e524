# Learning Mechanics, Measured. `make help` lists what there is to make.
# Plain make (GNU 3.81 or later) and a POSIX shell; everything runs in the environment that
# tools/bootstrap.py makes from environment.yml.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PEERS := .venv-peers
# Where `make test` leaves its counts, for whoever reads them by machine.
RESULTS := _build/test

NBVAL := $(BIN)/pytest -q --nbval --nbval-current-env --nbval-cell-timeout 300 -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help env book pdf test notebooks check-notebooks editions times robustness bench clean FORCE

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

env: $(STAMP) ## make the environment in .venv (the targets below do so themselves)
	@:

$(STAMP): environment.yml pyproject.toml constraints.txt tools/bootstrap.py
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 6))" >/dev/null 2>&1 || { \
	    echo "No Python 3 found as '$(PYTHON)': install Python 3.11 or later, or name yours," \
	    "for example 'make PYTHON=python3.12 book'." >&2; exit 1; }
	@$(PYTHON) tools/bootstrap.py $(VENV)

# Make compares dates only. A folder that was moved, or a Python that has gone from the system,
# leaves an environment with a good date that does not run: bootstrap.py has to look at it.
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell grep -qxF "$(CURDIR)" $(STAMP) && $(BIN)/python -c "" 2>/dev/null && echo sound),sound)
$(STAMP): FORCE
endif
endif

# Always from nothing, which costs about two seconds: Sphinx warns of a page only when it reads it,
# so that a second, incremental build would pass after a first one has failed.
book: env ## build the book as HTML, and say where it is
	@rm -rf _build/html _build/.doctrees
	@$(BIN)/jupyter-book build . -W -n --keep-going -q >/dev/null
	@echo "The book is at _build/html/index.html"

pdf: env ## print the whole book as one PDF, with Chromium, and say where it is
	@$(BIN)/python tools/print_book.py

# Every part runs, even after one has failed, so that one run shows all there is to mend. The
# last two lines are which parts failed and pytest's counts, added over its two runs.
test: book ## run everything there is to check, the built pages included
	@rm -rf $(RESULTS); mkdir -p $(RESULTS); failed=; \
	part() { \
	    name=$$1; shift; echo; echo "== $$name"; \
	    "$$@" || failed="$$failed$${failed:+, }$$name"; \
	}; \
	part 'ruff check' $(BIN)/ruff check .; \
	part 'ruff format' $(BIN)/ruff format --check .; \
	part 'mypy' $(BIN)/mypy; \
	part 'import rules' $(BIN)/lint-imports; \
	part 'tests' $(BIN)/pytest -q -n 2 --dist loadfile --junitxml=$(RESULTS)/tests.xml tests; \
	part 'notebooks' $(NBVAL) --junitxml=$(RESULTS)/notebooks.xml notebooks; \
	echo; echo "== $${failed:+failed: }$${failed:-all parts passed}"; \
	sed -n 's/.*<testsuite [^>]*errors="\([0-9]*\)" failures="\([0-9]*\)" skipped="\([0-9]*\)" tests="\([0-9]*\)" time="\([0-9.]*\)".*/\1 \2 \3 \4 \5/p' \
	    $(RESULTS)/*.xml | awk '{ e += $$1; f += $$2; s += $$3; n += $$4; t += $$5 } \
	    END { if (f) printf "%d failed, ", f; printf "%d passed", n - e - f - s; \
	          if (s) printf ", %d skipped", s; if (e) printf ", %d errors", e; \
	          printf " in %.2fs\n", t }' | tee $(RESULTS)/counts.txt; \
	test -z "$$failed"

notebooks: env ## run every chapter's text into its notebook, ledger and figure data
	@$(BIN)/learnmech run
	@$(BIN)/python tools/readme_figure.py

check-notebooks: env ## run every notebook and compare with what is committed
	@$(NBVAL) notebooks

editions: env ## write the book for students, for instructors and for all, in _build/editions
	@$(BIN)/learnmech editions

# CHAPTERS="one another" measures those and keeps what stands of the others.
times: env ## measure and record each chapter's CPU time
	@$(BIN)/python tools/record.py times $(CHAPTERS)

robustness: env ## run each chapter with other seeds, and record the verdicts
	@$(BIN)/python tools/record.py robustness $(CHAPTERS)

# The peers pull a torchvision or a torch of their own, and never come near ours.
$(PEERS)/.ready: benchmarks/peers.txt constraints.txt
	@echo "Making the peers' environment in $(PEERS), once: about a minute."
	@rm -rf $(PEERS); $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/pip install --quiet --disable-pip-version-check \
	    -r benchmarks/peers.txt -c constraints.txt
	@touch $@

bench: env $(PEERS)/.ready ## run learnmech beside its peers, and write benchmarks/RESULTS.md
	@missed=; for script in benchmarks/bench_*.py; do \
	    echo "== $$script"; $(BIN)/python "$$script" || missed="$$missed $$script"; \
	done; \
	$(BIN)/python benchmarks/summary.py >/dev/null; \
	echo "The table is at benchmarks/RESULTS.md"; \
	test -z "$$missed" || { echo "a target was missed in:$$missed"; exit 1; }

clean: ## remove the environment, the built book and all caches
	@echo "Removing $(VENV), $(PEERS), _build, dist, and the caches of Python, pytest, Hypothesis, ruff, mypy," \
	    "import-linter and Jupyter."
	@rm -rf $(VENV) $(PEERS) _build dist .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache
	@find . -name .git -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune \
	    -exec rm -rf {} +
