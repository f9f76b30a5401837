"""Which candidates compute the same, and what it saves to know."""
