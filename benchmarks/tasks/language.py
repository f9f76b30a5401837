"""Language: characters of a text, candidates of `search_spaces/gpt.py`.

Of the text, the first eight tenths are trained on, the probe is drawn from the ninth, and what networks
are worth is their loss on the last, in nats a character. The next character is known without
annotation.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor

from benchmarks.tasks.kind import Data, Kind, Run
from prescreen import Training
from prescreen.tasks import LanguageTask
from prescreen.tasks.language import PANELS
from prescreen.tasks.text.files import open_corpus

CONTEXT, PROBE, TEST = 64, 64, 512
# Characters of a text that is soon known by heart, and the share of them that are wrong.
LITTLE, WRONG = 16_000, 0.3


def load(path: Path, context: int = CONTEXT, probe_size: int = PROBE) -> Data:
    """The task of a text file or a folder of texts, and its regimes."""
    corpus = open_corpus(path, None, None, 0)
    ids, vocabulary = corpus.ids, corpus.vocab_size
    train, rest = ids[: 8 * len(ids) // 10], ids[8 * len(ids) // 10 :]
    held, tested = rest.chunk(2)
    little = train[:LITTLE]

    def task(text: Tensor, probe: Tensor = held, size: int = probe_size) -> LanguageTask:
        return LanguageTask(
            text, context=context, vocab_size=vocabulary, probe=probe, probe_size=size
        )

    clean, judged = task(train), task(little, tested, TEST)
    regimes = {"little": task(little), "wrong": task(corrupted(little, WRONG))}
    return Data(clean, lambda model: {"loss": judged.held_out_loss(model)}, regimes)


def corrupted(text: Tensor, share: float) -> Tensor:
    """A text in which some characters are replaced by others of it."""
    generator = Generator().manual_seed(0)
    others = text[torch.randperm(len(text), generator=generator)]
    return torch.where(torch.rand(len(text), generator=generator) < share, others, text)


_SMALL = {"depth": 2, "width": 64, "heads": 4, "mlp_ratio": 2, "norm": "pre", "tied": False}
_LARGE = {"depth": 3, "width": 128, "heads": 4, "mlp_ratio": 4, "norm": "pre", "tied": True}
_NETWORKS = ({**_SMALL, "context": 128}, {**_LARGE, "context": 32})
_LONG = {"steps": 600}
_CONSTANT = {"steps": 600, "schedule": "constant"}

KIND = Kind(
    name="language",
    space="gpt",
    load=load,
    training=Training(steps=120, batch_size=16, optimizer="adamw"),
    longer=8,
    quality="test.loss",
    higher_is_better=False,
    panel=PANELS["causal"],
    runs=tuple(
        Run(regime, config, recipe)
        for regime, recipe in (
            ("little", _LONG),
            ("wrong", _LONG),
            ("little", _CONSTANT),
            ("clean", _CONSTANT),
        )
        for config in _NETWORKS
    ),
)
