"""Networks that turn histories into interests, and their wrappers."""
