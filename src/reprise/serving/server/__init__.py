"""Serve a stored model over HTTP (`reprise serve`).

A request passes `protocol` (limits of a connection), `gate` (token, body, time), one of `routes`,
and `batcher`, which answers waiting histories together, on a thread that releases Python's lock.
"""
