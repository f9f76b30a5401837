"""Search spaces: one module each, with ``sample(trial)``, ``build(config)`` and perhaps ``grid()``."""
