"""Bytes and times in few characters."""

from __future__ import annotations


def shown_bytes(size: float) -> str:
    """``512 B``, ``4.0 KiB``, ``13.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def shown_seconds(seconds: float) -> str:
    """``4.2 s``, ``17 min``, ``3.5 h``, ``12 d``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} d"
