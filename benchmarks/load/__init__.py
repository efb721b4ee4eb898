"""The load test of /graphql (scripts/load-test.sh): generator, verdict, report."""
