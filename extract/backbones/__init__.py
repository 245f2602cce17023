"""Backbones: a module, its weights, and the mapper that shows it pictures; nothing of folders is known here."""
