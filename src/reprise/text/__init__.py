"""Messages: all text that users read, in English and Chinese."""
