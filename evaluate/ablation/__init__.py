"""A grid of cheap trainings held against one reference row."""
