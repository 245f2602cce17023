"""A run on a split: opened, predicted, scored, written; a file for each task."""
