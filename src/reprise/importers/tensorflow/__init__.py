"""Importing TensorFlow checkpoints of ComiRec."""
