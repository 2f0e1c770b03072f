"""Metrics of recommended lists, and what they are taken over."""
