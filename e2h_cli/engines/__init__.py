"""Engines write solutions. One protocol (``base.Engine``), one module per engine."""
