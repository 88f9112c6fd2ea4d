# One chore, one word. Every word works on a fresh clone: it calls `setup` itself,
# which does nothing when nothing changed.
#
#   make test PYTHONS=3.14                     on one Python only
#   make test-3.15 PYTEST_ARGS="-k fork -x"    one Python, some tests

PYTHON3 ?= python3
ifndef PYTHONS
PYTHONS          := 3.14 3.15
OPTIONAL_PYTHONS := 3.13
endif

BIN     := .venv-3.14/bin
SOURCES := python tests bench examples tools
# What has an environment: the optional Python only where setup found one.
PRESENT  = $(PYTHONS) $(patsubst .venv-%,%,$(wildcard $(OPTIONAL_PYTHONS:%=.venv-%)))
DJANGO60 = $(patsubst 3.14,test-django60,$(filter 3.14,$(PYTHONS)))

# rustup looks for its toolchains below HOME. With another HOME they still lie beside the cargo on PATH.
RUSTUP_BESIDE := $(abspath $(dir $(shell command -v cargo 2>/dev/null))../../.rustup)
ifeq ($(RUSTUP_HOME)$(wildcard $(HOME)/.rustup),)
ifneq ($(wildcard $(RUSTUP_BESIDE)),)
export RUSTUP_HOME := $(RUSTUP_BESIDE)
endif
endif

.PHONY: help setup demo test suites test-rust test-loom test-long test-modes test-debug \
	test-django60 test-mutants soak sanitize sanitize-extension fuzz lint deny advisories lock \
	bench faults bench-django bench-serve bench-sharing bench-core docs clean \
	$(PRESENT:%=test-%)
# Only the suites go side by side: they wait more than they work.
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif

help: ## list these words
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

setup: ## get the Pythons, make .venv-X.Y for each, build the extension
	@$(PYTHON3) tools/setup.py $(sort 3.14 $(PYTHONS)) $(OPTIONAL_PYTHONS:%=--optional %) --django60

demo: setup ## the complexity of the standard library, on five kinds of pool
	$(BIN)/python examples/stdlib_metrics.py

test: setup ## the Rust core, pytest on every Python, Django 6.0; two at a time; fails at the end
	@echo "The output of each suite comes at its end."
	@$(MAKE) --no-print-directory --keep-going --jobs 2 --output-sync=target SIDE_BY_SIDE=1 suites

# On Django 6.0 the contract alone, and nothing where PYTEST_ARGS picks tests.
suites: test-rust test-loom $(if $(PYTEST_ARGS),,$(DJANGO60)) $(PRESENT:%=test-%)
suites: DJANGO60_TESTS := tests/django/test_dj_contract.py

test-rust: ## the core, built without Python
	cargo test --locked --no-default-features

# Optimized: the checker runs each model some ten thousand times.
test-loom: ## the protocols of the core, in every order their threads could take
	RUSTFLAGS="--cfg loom -C opt-level=2" RUST_BACKTRACE=0 \
		cargo test --locked --no-default-features --lib --target-dir target/loom

$(PRESENT:%=test-%): test-%: setup
	.venv-$*/bin/python -m pytest $(PYTEST_ARGS)

test-long: setup ## the tests of docs/reliability, each as often as it says there
	@for python in $(PRESENT); do .venv-$$python/bin/python -m pytest --long --timeout 3600 \
	    $(PYTEST_ARGS) || exit; done

# The seed is printed first. SEED=7 for the same again, ROUND=3 for one round of it.
SECONDS ?= 60
soak: setup ## everything at once, SECONDS long on every Python, from a SEED
	@for python in $(PRESENT); do .venv-$$python/bin/python tests/soak.py --seconds $(SECONDS) \
	    --seed "$(SEED)" --round "$(ROUND)" || exit; done

test-modes: setup ## pytest under tracemalloc, -X dev, profilers and others; MODES_ARGS="--mode dev"
	$(PYTHON3) tools/test_modes.py $(PRESENT) $(MODES_ARGS) -- $(PYTEST_ARGS)

test-debug: ## pytest on the debug build of 3.14
	@$(PYTHON3) tools/setup.py --debug-build
	.venv-3.14-dbg/bin/python -m pytest $(PYTEST_ARGS)

DJANGO60_TESTS ?= tests/django
test-django60: setup ## the tests of Django tasks on Django 6.0; `make test` runs a part of them
	PYTHONPATH=$(CURDIR)/.venv-django60/lib/python3.14/site-packages \
		$(BIN)/python -m pytest $(DJANGO60_TESTS) $(PYTEST_ARGS)

test-mutants: ## break each protocol of the core, and see its model fail; ONLY= picks
	@$(PYTHON3) tools/mutants.py $(ONLY)

sanitize: ## the core under ThreadSanitizer, AddressSanitizer and Miri; needs a nightly compiler
	@$(PYTHON3) tools/sanitize.py $(ONLY)

sanitize-extension: setup ## the extension under AddressSanitizer, in CPython 3.14
	@$(PYTHON3) tools/sanitize.py --extension $(PYTEST_ARGS)

# The flags are those of `cargo fuzz --sanitizer none`, which needs a nightly compiler for nothing
# else: they make the compiler count the edges that libFuzzer steers by. With `--target` they do
# not reach build scripts.
FUZZ_SECONDS ?= 30
FUZZ_FLAGS   := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1

fuzz: ## the native format's decoder under libFuzzer, FUZZ_SECONDS long; needs a C++ compiler
	mkdir -p fuzz/corpus/wire fuzz/artifacts/wire
	cd fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" cargo run --locked --release --bin wire \
	    --target $$(rustc -vV | sed -n 's/^host: //p') -- corpus/wire \
	    -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
	    -artifact_prefix=artifacts/wire/

lint: setup ## format, style, types, stubs, clippy, and the rules of the rooms
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy --strict python/subpool
	$(BIN)/python -m mypy.stubtest subpool._subpool
	cargo fmt --check
	rustfmt --check --edition 2024 fuzz/fuzz_targets/*.rs
	cargo clippy --locked --all-targets --no-default-features -- -D warnings
	PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo clippy --locked --all-targets -- -D warnings
	$(BIN)/python tools/check_rooms.py

deny: ## the crates: licences, bans, where they come from
	@$(PYTHON3) tools/deny.py

advisories: ## the same, and known vulnerabilities; the database is on GitHub
	@$(PYTHON3) tools/deny.py --advisories

lock: ## requirements/*.txt anew from pyproject.toml; LOCK_ARGS=--upgrade for what is newest
	@$(PYTHON3) tools/lock.py $(LOCK_ARGS)

bench: setup ## subpool against every other pool, in one run; BENCH_ARGS="--quick" for less
	@$(PYTHON3) tools/setup.py --bench
	.venv-bench/bin/python bench/bench.py $(BENCH_ARGS)

bench-serve: setup ## subpool serve against hypercorn and uvicorn; BENCH_ARGS="--rounds 1" for less
	$(BIN)/python bench/serve.py $(BENCH_ARGS)

faults: setup ## the fault list, on subpool and its peers, into docs/reliability
	@$(PYTHON3) tools/setup.py --bench
	.venv-bench/bin/python bench/faults.py --docs

bench-django: setup ## tasks of Django: subpool_worker beside the worker of django-tasks-db
	@$(PYTHON3) tools/setup.py --bench
	.venv-bench/bin/python bench/django_tasks.py $(BENCH_ARGS)

bench-sharing: setup ## queues and events between main and a worker, beside what else there is
	$(BIN)/python bench/sharing.py $(BENCH_ARGS)

bench-core: ## the core alone, without Python: ARGS=--quick for rough figures
	cargo bench --locked --no-default-features --bench core -- $(ARGS)

docs: ## the site, into site/
	@$(PYTHON3) tools/setup.py --docs
	.venv-docs/bin/mkdocs build --strict

clean: ## remove what the other words made here; the user's cache stays
	rm -rf target fuzz/target site .venv-* python/subpool/_subpool.*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find python tests bench examples tools -name __pycache__ -prune -exec rm -rf {} +
