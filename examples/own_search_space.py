"""A search space is a file with two functions; try `prescreen rank own_search_space.py`, too."""

from typing import Any

from torch import nn

from prescreen import Training, load_task, rank


def sample(trial: Any) -> dict[str, Any]:
    """Draw a configuration; an Optuna trial works as well."""
    return {
        "width": trial.suggest_int("width", 4, 64, log=True),
        "depth": trial.suggest_int("depth", 1, 3),
        "activation": trial.suggest_categorical("activation", ["relu", "gelu", "tanh"]),
    }


def build(config: dict[str, Any], *, num_classes: int, in_channels: int) -> nn.Module:
    """Build an untrained network from a configuration."""
    activation = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}[config["activation"]]
    channels = in_channels
    layers: list[nn.Module] = []
    for _ in range(config["depth"]):
        layers += [
            nn.Conv2d(channels, config["width"], 3, padding=1, bias=False),
            nn.BatchNorm2d(config["width"]),
            activation(),
        ]
        channels = config["width"]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, num_classes)
    )


def main() -> None:
    print(rank(__file__, load_task("digits"), samples=6, training=Training(steps=40)))


if __name__ == "__main__":
    main()
