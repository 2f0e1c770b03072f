"""Data: input formats, preparation, and the dataset folder."""

# How `data.splits` makes splits of a source's users, the default first.
PROTOCOLS = ("comirec", "leave-one-out", "time-split")
# What orders a user's items of one time where the rows have no order (`data.ties`), the default
# first.
TIES = ("hash", "popularity")
