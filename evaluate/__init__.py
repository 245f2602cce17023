"""A model and its features to numbers, comparisons and a page."""
