"""Benchmarks: ratios against a baseline in the same run."""

import os

# As the program sets it; see e2h_cli.cli.app.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
