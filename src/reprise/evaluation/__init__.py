"""Metrics of recommended lists, and the users, groups and intervals they are computed over."""
