"""Captions to token ids and tags."""
