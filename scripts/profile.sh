#!/usr/bin/env bash
# Profile a service under load: a flame graph of one worker, and the costliest statements of PostgreSQL.
#
#     scripts/profile.sh [RPS [SECONDS]]      the defaults are 500 requests/s and 20 s
#
# The script starts a service, as load-test.sh does. It writes .pcf/profile.svg (py-spy) and .pcf/profile.txt
# (pg_stat_statements), and prints the latter. py-spy needs root, or ptrace_scope 0.
#
# Exit status: 0 success, 2 wrong arguments, 3 failure, 130 interrupted.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/dev.py exec --durable -- .venv/bin/python -m benchmarks.load.profile "$@"
