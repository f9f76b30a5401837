"""Tokenizers: from a text to token ids, by whatever function or object there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

# A function from a text to ids, or an object with `encode`, which may return an object with `ids`.
Tokenizer: TypeAlias = Callable[[str], Any] | Any


class Characters:
    """Each character is a token; ids are in the order of Unicode.

    Args:
        texts: all texts that will be encoded.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._codes = np.unique(np.concatenate([_codes(text) for text in texts]))

    def __len__(self) -> int:
        return len(self._codes)

    def encode(self, text: str) -> Tensor:
        """Ids (T,).

        Raises:
            ValueError: a character was not in the texts.
        """
        codes = _codes(text)
        ids = np.searchsorted(self._codes, codes).clip(max=len(self) - 1)
        if len(other := codes[self._codes[ids] != codes]):
            raise ValueError(f"`text` must have known characters, got {chr(other[0])!r}")
        return torch.from_numpy(ids.astype(np.int32))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids."""
        return "".join(chr(self._codes[int(one)]) for one in ids)


def encoded(tokenizer: Tokenizer, text: str) -> Tensor:
    """Ids (T,) of a text.

    Raises:
        ValueError: the tokenizer gives something else.
    """
    made = getattr(tokenizer, "encode", tokenizer)(text)
    made = getattr(made, "ids", made)
    try:
        ids = torch.as_tensor(made).to(torch.int32)
    except (TypeError, ValueError, RuntimeError):
        ids = torch.empty(0, 0)
    if ids.ndim != 1:
        raise ValueError(
            f"`tokenizer` must give a list of ids for a text, got {type(made).__name__}"
        )
    return ids


def vocab_size_of(tokenizer: Tokenizer) -> int | None:
    """How many ids a tokenizer has, added ones too; None if it does not say."""
    if hasattr(tokenizer, "__len__"):
        return len(tokenizer)
    for name in ("get_vocab_size", "n_vocab", "vocab_size"):
        value = getattr(tokenizer, name, None)
        if value is not None:
            return int(value() if callable(value) else value)
    return None


def mask_id_of(tokenizer: Tokenizer) -> int | None:
    """The id that stands for masked tokens; None if there is none."""
    return _special(tokenizer, "mask_token_id", ("[MASK]", "<mask>"))


def end_id_of(tokenizer: Tokenizer) -> int | None:
    """The id at the end of a text; None if there is none."""
    return _special(tokenizer, "eos_token_id", ("<|endoftext|>", "</s>"))


def _special(tokenizer: Tokenizer, attribute: str, names: tuple[str, ...]) -> int | None:
    value = getattr(tokenizer, attribute, None)
    find = getattr(tokenizer, "token_to_id", None)
    if value is None and callable(find):
        value = next((one for name in names if (one := find(name)) is not None), None)
    return None if value is None else int(value)


def _codes(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
