"""Errors, the terminal, files, the Parquet store, and several processes."""
