"""Process set-up: threads, memory, device and environment."""
