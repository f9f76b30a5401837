"""Search spaces: one module each, with ``sample(trial)``, ``build(config)`` and, if finite, ``grid()``."""
