"""Boxes: objects in images, in tensors and in folders of files."""
