"""Continuing the training of a network: losses, solvers, batches, the loop."""
