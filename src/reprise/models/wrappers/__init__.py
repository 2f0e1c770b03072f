"""Models of models."""
