"""Readers of interactions, one file a format."""
