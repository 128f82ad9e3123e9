"""Tests of e2h."""
