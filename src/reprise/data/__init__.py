"""Data: input formats, preparation, and the dataset folder."""

# How `data.protocols` makes splits of a source's users, the default first.
PROTOCOLS = ("comirec", "leave-one-out", "time-split")
# What `data.prepare` reads, see `data.layouts`.
FORMATS = ("comirec", "recbole", "movielens", "taobao", "sequences", "table")
