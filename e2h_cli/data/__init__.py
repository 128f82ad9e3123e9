"""Problems and their sources, the split, the template, and training rows."""
