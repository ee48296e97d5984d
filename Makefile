# make demo | make quick | make test | make check | make bench | make venv: each creates .venv when it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
# Every process of a test would else compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo quick test check bench docs format venv clean

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[all,dev]"
	touch $@

demo: venv
	$(BIN)/frown compare --preset demo --out runs/demo

quick: venv
	$(BIN)/python -m pytest -n 2 -m "unit and not slow" tests/unit

test: venv
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: venv
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache && $(BIN)/vulture

bench: venv
	$(BIN)/python -m benchmarks --draw docs/results/growth.svg

docs: venv
	$(BIN)/frown config --markdown > docs/config.md
	$(BIN)/frown methods --markdown > docs/methods.md

format: venv
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs build dist
