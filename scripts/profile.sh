#!/usr/bin/env bash
# Where the time goes under load: a flame graph of a worker, and the statements that cost PostgreSQL most.
#
#     scripts/profile.sh [RPS [SECONDS]]      500 requests/s for 20 s without them
#
# Loads a service of its own (see load-test.sh), gone afterwards. Writes .pcf/profile.svg (py-spy) and .pcf/profile.txt
# (pg_stat_statements), and prints the latter. py-spy looks into another process: that takes root, or ptrace_scope 0.
#
# Exit status: 0 done, 2 wrong arguments, 3 it could not be done, 130 interrupted.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/dev.py exec --durable -- .venv/bin/python -m benchmarks.load.profile "$@"
