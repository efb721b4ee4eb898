"""An open-loop load generator for /graphql, its verdict and its report (scripts/load-test.sh)."""
