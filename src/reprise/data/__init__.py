"""Data: input formats, preparation, and the dataset folder."""

# How `data.splits` makes splits of a source's users, the default first.
PROTOCOLS = ("comirec", "leave-one-out", "time-split")
# What orders a user's items of one time where the rows have no order (`data.ties`), the default
# first.
TIES = ("hash", "popularity")
# When the users of an evaluation ask, of models to which it matters: when the first held-out item
# was (as in HSTU, arXiv 2402.17152), or the last known one, which tells nothing of the future.
REQUEST_TIMES = ("first-held-out", "last")
