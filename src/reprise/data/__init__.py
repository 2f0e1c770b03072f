"""Data: input formats, preparation, and the dataset folder."""

# How `data.splits` makes splits of a source's users, the default first.
PROTOCOLS = ("comirec", "leave-one-out", "time-split")
