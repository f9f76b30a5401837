"""Screening: a candidate is built, trained briefly and read at even intervals."""

from prescreen.screening.plan import Extra, Plan, require_head
from prescreen.screening.run import Screening, screen

__all__ = ["Extra", "Plan", "Screening", "require_head", "screen"]
