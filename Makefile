# scripts/dev.py does the work; it needs only Python 3.11 or later.
# Each recipe is one command that replaces its shell, so that signals reach the command.

PYTHON ?= python3
DEV = exec $(PYTHON) scripts/dev.py
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check check-package check-browser check-clients schemathesis format requirements bench bench-execution bench-sizes bench-hits bench-peers check-deploy chaos coherence clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 25

run: ## run the service on http://127.0.0.1:8080 with servers and demo data, until Ctrl-C (HOST, PORT, WORKERS)
	@$(DEV) run

test: ## run the tests on throw-away servers; a part of them: make test ARGS="-k cache -x"
	@$(DEV) test $(ARGS)

check: ## run all checks except the tests
	@$(DEV) check

check-package: ## the engine from its wheel in an empty environment, with a bookstore on it
	@$(DEV) exec -- .venv/bin/python scripts/check_package.py

check-browser: ## test GraphiQL and the notes application in headless Chromium, which must be installed
	@$(DEV) exec -- sh -c 'for name in graphiql app; do .venv/bin/python tests/browser/$$name.py || exit; done'

check-clients: ## test GraphQL clients of npm against a started service (Node 20 or later, npm)
	@$(DEV) exec -- .venv/bin/python tests/clients/node.py

schemathesis: ## send operations generated from the schema to a started service (PCF_FUZZ_EXAMPLES)
	@$(DEV) exec -- .venv/bin/python tests/fuzz/schema.py

format: ## format the source
	@$(DEV) format

requirements: ## pin all requirements*.in with hashes
	@$(DEV) requirements

bench: ## measure requests inside the process, execution, and hits over HTTP (uses wrk if installed)
	@$(DEV) exec -- sh -c 'for name in service execution hits; do .venv/bin/python benchmarks/$$name.py || exit; done'

bench-hits: ## measure hits over HTTP beside bare applications (ROUNDS, SECONDS)
	@$(DEV) exec -- .venv/bin/python benchmarks/hits.py

bench-execution: ## measure execution: plans, promises, PostgreSQL alone
	@$(DEV) exec -- .venv/bin/python benchmarks/execution.py

bench-sizes: ## measure queries at 10,000 and 1,000,000 notes (SIZES, ROUNDS)
	@$(DEV) exec -- .venv/bin/python benchmarks/sizes.py

check-deploy: ## check alerts and dashboard with a real Prometheus (Debian: the package prometheus)
	@$(DEV) exec -- .venv/bin/python -m scripts.check_deploy

coherence: ## send 100,000 random queries and writes; cached answers must equal uncached ones (ARGS)
	@$(DEV) exec -- .venv/bin/python -m tests.coherence $(ARGS)

chaos: ## inject faults under load for ten minutes; print a verdict (MINUTES, RATE, DEADLINE, REPORT)
	@$(DEV) exec -- .venv/bin/python -m tests.chaos

bench-peers: ## compare PCF with other GraphQL servers (ROUNDS, SECONDS, WORKERS, WRITE=1); some of them need npm
	@$(DEV) exec --durable -- .venv/bin/python -m benchmarks.peers

clean: ## remove files that tools have made; keep .venv and the development database
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
