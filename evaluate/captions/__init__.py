"""Captions written freely, and what texts are scored by."""
