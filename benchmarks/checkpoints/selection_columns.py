"""What the tables of checkpoint_selection.py look at, found by asking them."""

from benchmark_modules import load_benchmark

scores = load_benchmark("checkpoint_selection_scores")


def needed(regime):
    """The columns that the tables look at."""
    asked = set()

    class Row(dict):
        def get(self, key, default=None):
            asked.add(key)
            return 1.0

    tuple(scores.scores([Row()], regime))
    return asked - {"training.loss"}
