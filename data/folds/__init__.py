"""Grouped folds of a data folder."""
