"""e2h: reproduce, and go beyond, "Easy-to-Hard Generalization" (Sun et al., NeurIPS 2024)."""

__version__ = "0.1.0"
