"""Measurements to tables, figures and result files."""
