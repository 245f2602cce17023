"""Runs in a table, and a run handed on: as one JSON card, or as a tar to evaluate elsewhere."""
