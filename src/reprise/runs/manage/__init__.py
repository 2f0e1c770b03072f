"""Looking at runs, comparing, pruning, packing them."""
