"""Chosen: the candidates that a caller means, whichever way they are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from prescreen.spaces.candidate import Candidate, distinctly_named, sample_candidates
from prescreen.spaces.listed import is_listed, listed
from prescreen.spaces.space import Space, resolve_space


def as_candidates(
    candidates: (
        str
        | Path
        | ModuleType
        | Space
        | Mapping[str, Callable[..., nn.Module]]
        | Iterable[Candidate]
    ),
    num_samples: int | None = None,
    seed: int = 0,
    sizes: Mapping[str, Any] | None = None,
) -> list[Candidate]:
    """Candidates from a search space, a function, a file, a list or a mapping.

    Args:
        candidates: a search space (see `resolve_space`), which is sampled; a function or a file (see
            `listed`); candidates; or a mapping from names to the functions that build them, such as
            ``{"small": make_small}``.
        num_samples: how many to sample, None for all of a finite space; for search spaces only.
        seed: of the sample.
        sizes: of the task, for functions that ask for them, and for spaces that check them.

    Raises:
        ValueError: no candidates, two of one name, something that is not a candidate, or
            `num_samples` for a list or mapping.
    """
    if isinstance(candidates, str | Path) and is_listed(candidates):
        candidates = listed(candidates, sizes or {})
    if isinstance(candidates, str | Path | ModuleType | Space):
        space = resolve_space(candidates)
        space.check(sizes or {})
        return sample_candidates(space, num_samples, seed)
    if num_samples is not None:
        raise ValueError(f"`samples` must be None except for a search space, got {num_samples}")
    given: list[object] = (
        [Candidate(name, {}, build) for name, build in candidates.items()]
        if isinstance(candidates, Mapping)
        else list(candidates)
    )
    strangers = [type(other).__name__ for other in given if not isinstance(other, Candidate)]
    if strangers or not given:
        raise ValueError(
            "`candidates` must be a search space, Candidates or {name: function}, "
            f"got {strangers[0] if strangers else 'none'}"
        )
    return distinctly_named([one for one in given if isinstance(one, Candidate)])
