"""Search spaces: one module each, with ``sample(trial)``, ``build(config)``, maybe ``grid()``."""
