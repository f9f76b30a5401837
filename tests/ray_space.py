"""A search space for the tests of the Ray integration; some of its networks fail."""

from toy import BAD, mlp

WIDTHS = [2, 4, 8, 16, 32]


def sample(trial):
    return {"width": trial.suggest_categorical("width", WIDTHS)}


def build(config):
    width = config["width"]
    return BAD[width]() if width in BAD else mlp(width)


def build_untrained(config):
    width = config["width"]
    return mlp(3 if width in BAD else 2 * width)
