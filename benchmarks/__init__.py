"""One script for each table that the README quotes; run as ``python -m benchmarks.NAME``."""
