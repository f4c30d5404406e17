# `make serve` runs a registry to push to; `make test` is everything CI runs.

UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)
RUN := $(UV) run --frozen
# Tests start Python some thousand times: without its cache each start compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE
TESTS := $(RUN) pytest -n auto --dist loadgroup

.PHONY: serve test test-fast lint bench bench-collection docs peers setup clean

serve: setup
	$(RUN) lading serve

test: lint peers
	$(TESTS) tests

test-fast: setup
	$(TESTS) -m "not slow and not peer" tests

lint: setup
	$(RUN) ruff check src tests bench docs packaging
	$(RUN) ruff format --check src tests bench docs packaging
	$(RUN) mypy

bench: setup peers
	$(RUN) python -m bench

bench-collection: setup peers
	$(RUN) python -m bench.collection

docs: setup
	$(RUN) zensical build --strict

peers:
	tests/peers.sh

setup: $(UV)
	@$(UV) sync --frozen --quiet

# Only where there is no uv yet: one from the package index, in a folder of its own.
.venv-uv/bin/uv:
	@python3 -m venv --help >/dev/null 2>&1 && python3 -c 'import ensurepip' 2>/dev/null \
		|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; }
	@python3 -m venv .venv-uv && .venv-uv/bin/pip install --quiet uv

clean:
	rm -rf .venv .venv-uv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist results site .cache
