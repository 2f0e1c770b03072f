"""Runs: the run folder, and the loop that trains, evaluates and saves."""
