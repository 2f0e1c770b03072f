"""Importing models of other programs."""
