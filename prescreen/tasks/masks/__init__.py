"""Masks: a class for every pixel, in tensors and in folders of files."""
