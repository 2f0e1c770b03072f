"""Serve a stored model: export its vectors (`reprise export`), or load it with `reprise.load`."""
