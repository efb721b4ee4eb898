#!/usr/bin/env bash
# Load /graphql at a constant rate, whatever the answers do, and judge it against the targets of the mix.
#
#     scripts/load-test.sh RPS SECONDS                 a service of its own: production settings, demo data, gone afterwards
#     scripts/load-test.sh RPS SECONDS URL             a service that is running on this machine
#     scripts/load-test.sh RPS SECONDS --find-limit    raise the rate from RPS on, SECONDS a step, until P99 is over the SLO
#     scripts/load-test.sh RPS SECONDS --generator-alone    how far the generator goes against constant bytes
#     scripts/load-test.sh RPS SECONDS --sweep THREADS=4,8,16    the same load for several values of a setting
#
# More options: --help. WORKERS, THREADS and PCF_... configure the service of its own; DATABASE_URL and REDIS_URL win over
# embedded servers. What is sent, by whom and how often: benchmarks/load/mix.toml. The report: .pcf/load-test.html, with
# the numbers beside it as .json.
#
# Exit status: 0 the targets are met, 1 they are missed, 2 wrong arguments, 3 it could not be run, 130 interrupted (the
# report is written all the same).
set -euo pipefail
cd "$(dirname "$0")/.."

# The arguments are looked at before anything is installed or started; --help and what is wrong end here.
python=${PYTHON:-python3}
for argument in "$@"; do
  case $argument in -h | --help) exec "$python" -m benchmarks.load --help ;; esac
done
servers=$("$python" -m benchmarks.load --only-parse "$@")
if [[ $servers == none ]]; then
  exec "$python" -m benchmarks.load "$@"
fi
exec "$python" scripts/dev.py exec --durable -- .venv/bin/python -m benchmarks.load "$@"
