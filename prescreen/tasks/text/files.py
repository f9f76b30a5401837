"""Files of text and of token ids, and which of them are held out."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from prescreen.tasks.images.folders import say_left_out
from prescreen.tasks.images.splits import Role, probe_role, role
from prescreen.tasks.images.walk import list_files, shown
from prescreen.tasks.text.arrays import read_archive, read_ids
from prescreen.tasks.text.tokenizers import (
    Characters,
    Tokenizer,
    encoded,
    end_id_of,
    vocab_size_of,
)

TEXTS = (".txt", ".text", ".md", ".tokens")
TOKENS = (".npy", ".bin")

# The share of files that is held out, if none is named by a split.
_HELD = 0.1


class Corpus(NamedTuple):
    """Token ids (T,) or (n, L), with a mask if there is one, those of the probe, and K if known."""

    ids: Tensor
    mask: Tensor | None = None
    probe: Any = None
    vocab_size: int | None = None


def open_corpus(
    path: str | Path, tokenizer: Tokenizer | None, probe: str | Path | None, seed: int
) -> Corpus:
    """Open a file or a folder of texts or of token ids.

    Args:
        path: a text file, an .npy, .npz or .bin file, or a folder.
        tokenizer: of texts; None for characters.
        probe: another one that the probe is drawn from, or None.
        seed: of the draw of files that are held out.

    Raises:
        ValueError: the files do not exist or cannot be read.
    """
    source = _path(path)
    held = [] if probe is None else _files(_path(probe))
    if source.suffix.lower() == ".npz" and source.is_file():
        return Corpus(**read_archive(source, held[0] if held else None))
    train, own = _split(_files(source), source, seed, hold_out=probe is None)
    held = own if probe is None else held
    if len({_is_tokens(file) for file in (*train, *held)}) > 1:
        raise ValueError(
            f"`probe` must be of texts where `data` is, or of ids where it is, got {shown(str(probe))}"
        )
    if _is_tokens(train[0]):
        return Corpus(_joined(train), probe=_joined(held) if held else None)
    return _encoded([_text(file) for file in train], [_text(file) for file in held], tokenizer)


def _encoded(train: list[str], held: list[str], tokenizer: Tokenizer | None) -> Corpus:
    """Ids of texts, one after another; texts that are copies of held-out ones are left out."""
    copies = set(held)
    train = [text for text in train if text not in copies]
    if not train:
        raise ValueError("`probe` must be of other texts than those of training, got the same")
    if tokenizer is None:
        between = "\n"  # it is a character of texts anyway
        characters = Characters([between, *train, *held])
        parts = [characters.encode(between.join(texts)) for texts in (train, held)]
        return Corpus(parts[0], None, parts[1] if held else None, len(characters))
    end = end_id_of(tokenizer)
    ids = [_with_ends([encoded(tokenizer, text) for text in texts], end) for texts in (train, held)]
    return Corpus(ids[0], None, ids[1] if held else None, vocab_size_of(tokenizer))


def _with_ends(parts: list[Tensor], end: int | None) -> Tensor:
    """Ids one after another, with the end of a text between them."""
    after = [] if end is None else [torch.tensor([end], dtype=torch.int32)]
    every = [tensor for part in parts for tensor in (*after, part)][len(after) :]
    return torch.cat(every) if every else torch.empty(0, dtype=torch.int32)


def _path(given: str | Path) -> Path:
    """A path; an empty one is not the working directory, and names nothing."""
    return Path(os.path.expanduser(given) or "nothing given")


def _files(source: Path) -> list[Path]:
    """The file, or those of a folder: of ids if there are any, else of texts."""
    if source.is_file():
        return [source]
    found = list_files(source, (*TEXTS, *TOKENS)) if source.is_dir() else None
    if found is None or not found.images:
        got = "a folder without" if source.is_dir() else "nothing there"
        raise ValueError(
            f"`data` must be a text file, a file of token ids (.npy, .npz, .bin) or a folder of such "
            f"({', '.join((*TEXTS, *TOKENS))}), got {got}: {shown(source)}"
        )
    say_left_out(source, found.others)
    return [file for file in found.images if _is_tokens(file)] or found.images


def _split(
    files: list[Path], source: Path, seed: int, *, hold_out: bool
) -> tuple[list[Path], list[Path]]:
    """The files to train on, and those that are held out; none of a single file, or if not wanted."""
    by_role: dict[Role | None, list[Path]] = {}
    for file in files:
        by_role.setdefault(_role(file, source), []).append(file)
    if "train" in by_role:
        held = probe_role(by_role)
        return by_role["train"], by_role[held] if held else []
    if len(files) == 1 or not hold_out:
        return files, []
    order = torch.randperm(len(files), generator=Generator().manual_seed(seed)).tolist()
    held_out = set(order[: max(1, round(_HELD * len(files)))])
    train = [file for row, file in enumerate(files) if row not in held_out]
    return train, [files[row] for row in sorted(held_out)]


def _role(file: Path, source: Path) -> Role | None:
    """The split that a file's name ends in, but for numbers, or that its folder is."""
    name = re.sub(r"[-_]?\d+(-of-\d+)?$", "", file.stem.split(".")[-1])
    folders = file.relative_to(source).parts[:-1] if file != source else ()
    return next((one for one in map(role, (name, *folders)) if one is not None), None)


def _is_tokens(file: Path) -> bool:
    return file.suffix.lower() in (*TOKENS, ".npz")


def _joined(files: Sequence[Path]) -> Tensor:
    parts = [read_ids(file) for file in files]
    if len({part.shape[1:] for part in parts}) > 1:
        got = ", ".join(f"{tuple(part.shape)}" for part in parts[:3])
        raise ValueError(f"`data` must have ids of one form in all files, got {got}")
    return torch.cat(parts)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(
            f"`data` must be UTF-8 text, got byte {byte:#x} at {error.start} in {shown(file)}"
        ) from None
    except OSError as error:
        raise ValueError(f"`data` must be readable, got {shown(file)}: {error.strerror}") from error
