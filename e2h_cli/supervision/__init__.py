"""From problems, samples and human labels to rows that models are trained on."""
