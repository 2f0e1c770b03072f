"""Training: batches, negatives, losses, optimizers, the packed item table, and the step."""
