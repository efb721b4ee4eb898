#!/usr/bin/env bash
# Load /graphql at a constant rate and judge the answers by the targets of the mix.
#
#     scripts/load-test.sh RPS SECONDS                 start a service with production settings and demo data, and load it
#     scripts/load-test.sh RPS SECONDS URL             load a running service on this machine
#     scripts/load-test.sh RPS SECONDS --find-limit    raise the rate from RPS, SECONDS a step, until P99 is over the SLO
#     scripts/load-test.sh RPS SECONDS --generator-alone         load a server of constant bytes, to measure the generator
#     scripts/load-test.sh RPS SECONDS --sweep THREADS=4,8,16    send the same load for several values of a setting
#
# --help lists more options. WORKERS, THREADS and PCF_... configure the started service. If DATABASE_URL or REDIS_URL is
# set, the script uses that server and starts none. benchmarks/load/mix.toml has the requests and the targets. The report is
# .pcf/load-test.html; the file .pcf/load-test.json has its numbers.
#
# Exit status: 0 the load met the targets, 1 the load missed a target, 2 wrong arguments, 3 the load could not run,
# 130 interrupted (the script still writes the report).
set -euo pipefail
cd "$(dirname "$0")/.."

# The arguments are checked before anything is installed or started.
python=${PYTHON:-python3}
for argument in "$@"; do
  case $argument in -h | --help) exec "$python" -m benchmarks.load --help ;; esac
done
servers=$("$python" -m benchmarks.load --only-parse "$@")
if [[ $servers == none ]]; then
  exec "$python" -m benchmarks.load "$@"
fi
exec "$python" scripts/dev.py exec --durable -- .venv/bin/python -m benchmarks.load "$@"
