"""Wrappers that turn a model into another model."""
