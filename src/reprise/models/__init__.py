"""Networks that extract interests from histories, and their wrappers."""
