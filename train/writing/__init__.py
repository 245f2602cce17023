"""Captions and stories written word by word, and how that is asked for."""
