"""The interest page at `/`: static files and the routes that only it needs."""
