"""Rank, prune and select neural networks after brief training, from unlabelled data."""
