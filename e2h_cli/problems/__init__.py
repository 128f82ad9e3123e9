"""Problems: where they come from, their files, and the split by level."""
