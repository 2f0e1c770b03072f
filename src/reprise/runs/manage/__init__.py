"""List, compare, prune and archive runs."""
