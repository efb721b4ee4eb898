# Everything is done by scripts/dev.py, which needs nothing but Python 3.11 or later.
# The recipes are single commands that replace their shell, so that signals reach them.

PYTHON ?= python3
DEV = exec $(PYTHON) scripts/dev.py
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check check-browser schemathesis format requirements bench bench-execution bench-hits bench-peers check-deploy chaos coherence clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: ## the service on http://127.0.0.1:8080 with its servers and demo data, until Ctrl-C (HOST, PORT, WORKERS)
	@$(DEV) run

test: ## the whole suite on throw-away servers; some of it: make test ARGS="-k cache -x"
	@$(DEV) test $(ARGS)

check: ## everything that is checked without running the tests
	@$(DEV) check

check-browser: ## GraphiQL in headless Chromium, which has to be installed
	@$(DEV) exec -- .venv/bin/python tests/browser/graphiql.py

schemathesis: ## queries and mutations generated from the schema against a service of its own (PCF_FUZZ_EXAMPLES)
	@$(DEV) exec -- .venv/bin/python tests/fuzz/schema.py

format: ## put the source into its usual form
	@$(DEV) format

requirements: ## pin all requirements again, with hashes
	@$(DEV) requirements

bench: ## what requests cost inside the process, what execution costs, what hits cost (needs wrk)
	@$(DEV) exec -- sh -c 'for name in service execution hits; do .venv/bin/python benchmarks/$$name.py || exit; done'

bench-hits: ## hits over HTTP beside a bare WSGI application and a bare Django view (ROUNDS, SECONDS)
	@$(DEV) exec -- .venv/bin/python benchmarks/hits.py

bench-execution: ## what execution costs: plans, promises and PostgreSQL alone, in one run
	@$(DEV) exec -- .venv/bin/python benchmarks/execution.py

check-deploy: ## the alerts and the dashboard against a real Prometheus (Debian: the package prometheus)
	@$(DEV) exec -- .venv/bin/python scripts/check_deploy.py

coherence: ## 100,000 random queries and writes over two workers; no cached answer may differ (ARGS)
	@$(DEV) exec -- .venv/bin/python -m tests.coherence $(ARGS)

chaos: ## ten minutes of load while faults are injected, with a verdict (MINUTES, RATE, DEADLINE, REPORT)
	@$(DEV) exec -- .venv/bin/python -m scripts.chaos.run

bench-peers: ## PCF and what would be used instead of it, in one run (ROUNDS, WORKERS); needs npm for some of them
	@$(DEV) exec --durable -- .venv/bin/python -m benchmarks.peers

clean: ## remove what tools left behind; keeps .venv and the development database
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
