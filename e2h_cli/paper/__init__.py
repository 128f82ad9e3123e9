"""Numbers that the paper prints, as data."""
