"""What the scripts share: their options, and how they tell what came of a run."""

from __future__ import annotations

import json
import random
import time
from argparse import ArgumentParser
from dataclasses import dataclass

import numpy as np
import torch

FOUND = "found "


@dataclass(frozen=True)
class Program:
    """A run of one script.

    Args:
        trials: of a search; of one training this is 1.
        epochs: of each training.
        seed: of what is drawn.
        begun: CPU seconds before it began.
    """

    trials: int
    epochs: int
    seed: int
    begun: float

    def found(
        self, best: float, *, pruned: int = 0, cut: float = 0.0, top: float = 0.0, cpu: float = 0.0
    ) -> None:
        """Tell what was found.

        Args:
            best: the final accuracy of the best trial, or of the model that is kept.
            pruned: trials that did not run to their end.
            cut: the share of the epochs that were not run.
            top: the best accuracy that any checkpoint had, of one training.
            cpu: seconds that other processes took.
        """
        seconds = time.process_time() - self.begun + cpu
        values = {"best": best, "pruned": pruned, "cut": cut, "top": top, "cpu": seconds}
        print(FOUND + json.dumps(values, allow_nan=False), flush=True)


def begin(*, trials: int = 1, epochs: int) -> Program:
    """Read the command line, and make a run of small networks as quiet and repeatable as it can be."""
    parser = ArgumentParser()
    parser.add_argument("--trials", type=int, default=trials)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(options.seed)
    np.random.seed(options.seed)  # the libraries of the scripts draw from it
    torch.manual_seed(options.seed)
    return Program(options.trials, options.epochs, options.seed, time.process_time())
