"""Halving: what successive halving inside of a ranking keeps and saves."""
