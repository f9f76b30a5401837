"""Decoder-only Transformers for language: depth, width, heads, MLP ratio, norms, tied heads, context.

References: Radford et al. 2019, "Language models are unsupervised multitask learners" (GPT-2); Xiong et
al. 2020, arXiv 2002.04745 (where norms are); Press & Wolf 2017, arXiv 1608.05859 (tied heads); Beltagy
et al. 2020, arXiv 2004.05150 (attention within a window).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Every width is a multiple of every number of heads: all combinations exist.
CHOICES: dict[str, tuple[Any, ...]] = {
    "depth": (1, 2, 3, 4),
    "width": (32, 64, 96, 128),
    "heads": (1, 2, 4, 8),
    "mlp_ratio": (1, 2, 4),
    "norm": ("pre", "post"),
    "tied": (False, True),
    "context": (8, 32, 128),
}


def sample(trial: Any) -> dict[str, Any]:
    """Draw depth, width, heads, MLP ratio, place of the norms, tied or not, and context."""
    return {key: trial.suggest_categorical(key, list(CHOICES[key])) for key in CHOICES}


def grid() -> Iterable[dict[str, Any]]:
    """All 2,304 configs, the context varying fastest."""
    for values in itertools.product(*CHOICES.values()):
        yield dict(zip(CHOICES, values, strict=True))


def name(config: Mapping[str, Any]) -> str:
    """Such as ``4x128-h4-r2-pre-tied-c32``: depth × width, heads, ratio, norms, tied, context."""
    made = _checked(config)
    tied = "tied" if made["tied"] else "own"
    return "{depth}x{width}-h{heads}-r{mlp_ratio}-{norm}-{t}-c{context}".format(**made, t=tied)


def build(config: Mapping[str, Any], *, vocab_size: int, max_length: int) -> nn.Module:
    """An untrained causal language model; there is no dropout, as training is brief.

    Args:
        config: one of its `CHOICES` for each key. ``context`` is how many tokens, itself among them, a
            position attends to in a layer; no more than `max_length`.
        vocab_size: K.
        max_length: L, the most tokens of a sequence.

    Raises:
        ValueError: a key is missing or unknown, a value is not one of its choices, or a size is below 1.
    """
    for size, value in (("vocab_size", vocab_size), ("max_length", max_length)):
        if value < 1:
            raise ValueError(f"`{size}` must be at least 1, got {value!r}")
    return GPT(**_checked(config), vocab_size=vocab_size, max_length=max_length)


class GPT(nn.Module):
    """Tokens and learned positions, Transformer layers, and a linear head without a bias.

    With norms before attention and MLP (``pre``) there is one more before the head.
    """

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        heads: int,
        mlp_ratio: int,
        norm: str,
        tied: bool,
        context: int,
        vocab_size: int,
        max_length: int,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.positions = nn.Parameter(torch.empty(max_length, width))
        self.layers = nn.Sequential(
            *(Layer(width, heads, mlp_ratio, norm == "pre", context) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, vocab_size, bias=False)
        self._initialise()
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Map ids (B, L) to logits (B, L, K) of the next tokens.

        Padding is taken to be at the ends of sequences, which no token before attends to: the mask is
        not used.
        """
        embedded = self.embedding(input_ids) + self.positions[: input_ids.shape[1]]
        logits: Tensor = self.head(self.norm(self.layers(embedded)))
        return logits

    def _initialise(self) -> None:
        """As in GPT-2: normal with a deviation of 0.02, less at the ends of residual branches."""
        nn.init.normal_(self.positions, std=0.02)
        branches = 2 * len(self.layers)
        for module_name, module in self.named_modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                is_end = module_name.endswith(("attention.out", "mlp.2"))
                nn.init.normal_(module.weight, std=0.02 / (branches**0.5 if is_end else 1))
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


class Layer(nn.Module):
    """Causal attention and an MLP, each with a norm before it, or after the sum with its input."""

    def __init__(self, width: int, heads: int, ratio: int, pre: bool, context: int) -> None:
        super().__init__()
        self.pre = pre
        self.attention = Attention(width, heads, context)
        self.mlp = nn.Sequential(
            nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        for norm, branch in zip(self.norms, (self.attention, self.mlp), strict=True):
            x = x + branch(norm(x)) if self.pre else norm(x + branch(x))
        return x


class Attention(nn.Module):
    """Each position attends to itself and to those before it, in a window of ``context``."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads, self.context = heads, context
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D)."""
        batch, length, width = x.shape
        split = self.into(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        window = None
        if self.context < length:
            window = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
            window = window.triu(1 - self.context)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=window, is_causal=window is None
        )
        made: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return made


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    if set(config) != set(CHOICES):
        raise ValueError(f"`config` must have the keys {', '.join(CHOICES)}, got {[*config]}")
    for key, allowed in CHOICES.items():
        if config[key] not in allowed:
            choices = ", ".join(map(str, allowed))
            raise ValueError(f"`{key}` must be one of {choices}, got {config[key]!r}")
    # 2.0 may come from a JSON file.
    return {key: next(one for one in CHOICES[key] if one == config[key]) for key in CHOICES}
