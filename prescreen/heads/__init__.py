"""Heads: find the prediction head, run the model once, leave it as it was, and capture.

find → preserve → execute → positions → capture
"""

from prescreen.heads.capturing import capture, capture_heads, capture_roles
from prescreen.heads.find import find_heads

__all__ = ["capture", "capture_heads", "capture_roles", "find_heads"]
