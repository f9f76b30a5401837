"""Integrations: one module a host; each needs its host installed and is imported by its own name."""
