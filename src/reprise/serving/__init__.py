"""A stored model's vectors, written for an index or a service: `reprise export`."""
