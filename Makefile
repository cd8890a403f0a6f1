# Every target makes its own set-up: a machine needs Python 3.11 or newer and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready

.PHONY: demo test downstream lint types bench stubs fixtures lowest soak clean

demo: $(READY)
	@$(BIN)/python examples/demo.py

# A worker for each core; a file's tests stay together, because they share peers that had to be built or started.
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile $(TESTS)
	$(if $(TESTS),,$(BIN)/python tests/downstream.py)

# The suite of examples/chat_app alone, with a wheel in a clean environment.
downstream: $(READY)
	$(BIN)/python tests/downstream.py $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

# The chat stubs of examples/ and tests/, from proto/chat.proto.
stubs: $(READY)
	$(BIN)/python examples/chat_app/stubs.py

# Record fixtures/chat anew from the programs of examples/ and tests/peers/.
fixtures: $(READY)
	$(BIN)/python fixtures/make.py

# The suite with the lowest versions that pyproject.toml declares.
lowest:
	$(PYTHON) tests/lowest.py $(TESTS)

# What is too long for every change: more kills, more damage, more generated frames.
soak: $(READY)
	DUPLEXMOCK_SOAK=1 $(BIN)/python -m pytest $(TESTS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@
