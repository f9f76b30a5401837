"""Screening: build a candidate, train it briefly and read it at even intervals."""

from prescreen.screening.plan import Extra, Plan, require_head
from prescreen.screening.run import Screening, screen

__all__ = ["Extra", "Plan", "Screening", "require_head", "screen"]
