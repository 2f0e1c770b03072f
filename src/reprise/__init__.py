"""Reprise: train multi-interest recommenders, stop at any instant, take up again exactly.

Importing it changes nothing; `reprise.runtime.setup` is what a process is set up by.
"""

__version__ = "0.2.0"
