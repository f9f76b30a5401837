"""Capturing: what enters and leaves the prediction head of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from prescreen.captured import Capture
from prescreen.heads.execute import WINDOW, Run, execute, require_runnable
from prescreen.heads.find import known_heads, row_with
from prescreen.heads.latest import forget, likely_head, remember
from prescreen.heads.layers import Head, layers_of
from prescreen.heads.predicting import predicting
from prescreen.heads.preserve import preserve
from prescreen.heads.roles import Role, Row, require_rows, row_of
from prescreen.heads.subject import (
    Places,
    Subject,
    behind,
    logits_in,
    named,
    require_executed,
    seen,
)
from prescreen.heads.wrappers import unwrap
from prescreen.predictions import Link


def capture(
    model: nn.Module,
    inputs: Any,
    *,
    head: str | nn.Module | None = None,
    role: Role | None = None,
    link: Link = "softmax",
    batch_statistics: bool = True,
    max_positions: int = 4096,
    places: Places | None = None,
) -> Capture:
    """What enters and leaves the prediction head; the model stays as it was.

    The head is what gives the logits that a loss sees (``model_logits`` of the output). If no layer's
    output is these logits, the model runs a second time: adapters, functions of features and a weight,
    scales, selections, means and weighted sums of heads are one head on joint features, with its
    effective weight. Rows are the positions whose logits the model returns, without padding that masks
    in the inputs leave out.

    Args:
        model: any model whose logits are linear in some features. It may be wrapped, such as by
            torch.compile, DistributedDataParallel or an average; processes do not communicate.
        inputs: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments; for
            torchvision's detectors ``(images,)`` with a list of images.
        head: a layer or its path, to be read instead, at its own output.
        role: what the head to read predicts, as in ``find_heads``. It is read at its own output: before
            what the model does next, such as interpolation, a soft cap or the sigmoid of boxes. Heads
            of several anchors have a row for each.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.
        batch_statistics: normalise every BatchNorm with this batch's statistics instead of its
            running ones, which are useless until training is far along.
        max_positions: the most samples, tokens or pixels; of more, this many are drawn with a fixed
            seed, spread evenly, and fewer of more than 16,384 classes: at most 2²⁶ logits are read.
            ``positions`` of the capture says which.
        places: brings maps (N, K, h, w) of predictions on these inputs to the places of other ones,
            such as ``lambda maps: maps.flip(-1)`` for mirrored images; it may only rearrange them. Rows
            are then those of the other inputs.

    Raises:
        ValueError: the model cannot take the inputs, its logits are not linear in features, or its
            output does not say which they are.
        NonFiniteError: features, logits or weights are NaN or infinite.
    """
    if role is not None and head is None:
        options: Any = {"batch_statistics": batch_statistics, "max_positions": max_positions}
        return capture_roles(model, inputs, {role: link}, places=places, **options)[role]
    captures = _read(model, inputs, head, role, link, batch_statistics, max_positions, places)
    if len(captures) > 1:
        raise _several(list(captures))
    return next(iter(captures.values()))


def capture_heads(
    model: nn.Module,
    inputs: Any,
    *,
    head: str | nn.Module | None = None,
    role: Role | None = None,
    link: Link = "softmax",
    batch_statistics: bool = True,
    max_positions: int = 4096,
    places: Places | None = None,
) -> dict[str, Capture]:
    """Like ``capture``, but for every head separately, by its path in the unwrapped model."""
    options = (head, role, link, batch_statistics, max_positions, places)
    return _read(model, inputs, *options, apart=True)


def capture_roles(
    model: nn.Module,
    inputs: Any,
    links: Mapping[Role, Link],
    *,
    batch_statistics: bool = True,
    max_positions: int = 4096,
    places: Places | None = None,
) -> dict[Role, Capture]:
    """Like ``capture`` with a role, for several roles in one forward pass.

    ::

        capture_roles(detector, (images,), {"classes": "sigmoid", "boxes": "identity"})

    Args:
        model: as for ``capture``.
        inputs: as for ``capture``.
        links: how the logits of each role become predictions.
        batch_statistics: as for ``capture``.
        max_positions: as for ``capture``, of each role.
        places: as for ``capture``.

    Raises:
        ValueError: a role is unknown, or the head of one is.
    """
    heads = {role: known_heads(model, None, role) for role in links}
    root = unwrap(model)
    require_runnable(root, inputs, max_positions)
    with preserve(root, batch_statistics=batch_statistics):
        run = execute(root, inputs, dict.fromkeys(one for some in heads.values() for one in some))
        read = {}
        for role, link in links.items():
            subject = Subject(root, inputs, link, max_positions, places)
            read[role] = _of_role(subject, run, heads[role], role)
        return read


def _read(
    model: nn.Module,
    inputs: Any,
    head: str | nn.Module | None,
    role: Role | None,
    link: Link,
    batch_statistics: bool,
    max_positions: int,
    places: Places | None,
    *,
    apart: bool = False,
) -> dict[str, Capture]:
    """A capture by the name of its head; several, if they are wanted apart or give no logits."""
    known = known_heads(model, head, role)
    root = unwrap(model)
    require_runnable(root, inputs, max_positions)
    subject = Subject(root, inputs, link, max_positions, places)
    if not known and role is None and (likely := likely_head(root)) is not None:
        with preserve(root, batch_statistics=batch_statistics):
            found = _seen_again(subject, likely)
        if found is not None:
            return dict([found])
    with preserve(root, batch_statistics=batch_statistics):
        run = execute(root, inputs, known or layers_of(root), None if known else WINDOW)
        logits = _returned(run, known)
        row = (row_of(root, role) if head is None else row_with(root, known[0])) or Row(())
        if head is not None and row.outputs is None:
            return {known[0].name: named(subject, run, known[0], logits)}
        several = apart and len(known) > 1
        if role is not None or logits is None or row.outputs is not None or several:
            ran = require_executed(run, known) if head is not None else _executed(run, known, link)
            if apart or len(ran) == 1 or not row.layers:
                return {one.name: predicting(subject, run, [one], row) for one in ran}
            return {ran[0].name: predicting(subject, run, ran, row)}
        if (direct := seen(subject, run, logits)) is not None and not known:
            remember(root, direct[0])
        found = direct or behind(subject, logits)
        if found is None:
            raise _unexplained(root, known)
        return dict([found])


def _seen_again(subject: Subject, likely: Head) -> tuple[str, Capture] | None:
    """The head where it was at the last reading; None if it must be searched."""
    run = execute(subject.model, subject.inputs, [likely], WINDOW)
    logits = _returned(run, ())
    found = None if logits is None else seen(subject, run, logits)
    if found is None:
        forget(subject.model)
    return found


def _of_role(subject: Subject, run: Run, heads: tuple[Head, ...], role: Role) -> Capture:
    """The head of a role; one that gives the model's logits, at the positions that reach them."""
    row = row_of(subject.model, role) or Row(())
    ran = _executed(run, heads, subject.link)
    logits = _returned(run, heads) if role == "classes" else None
    if logits is None or row.outputs is not None or row.summed:
        return predicting(subject, run, ran, row)
    if len(heads) == 1:
        own = run._replace(executions=[one for one in run.executions if one.head == heads[0]])
        return named(subject, own, heads[0], logits)
    found = seen(subject, run, logits) or behind(subject, logits)
    if found is None:
        raise _unexplained(subject.model, heads)
    return found[1]


def _returned(run: Run, known: tuple[Head, ...]) -> Tensor | None:
    """The logits that are returned, unless they are the enlarged maps of a known head.

    So are those of torchvision's segmentation models, the only ones that are called ``out``.
    """
    enlarged = known and isinstance(run.output, Mapping) and "logits" not in run.output
    return None if enlarged else logits_in(run.output)


def _executed(run: Run, known: tuple[Head, ...], link: Link) -> list[Head]:
    if not known:
        got = type(run.output).__name__
        raise ValueError(
            "`head` must be named where a model returns no tensor, object or dict with logits, or tuple "
            f"that begins with a tensor, got None and {got}; name it with head='path.to.layer'"
        )
    ran = require_executed(run, known)
    require_rows(ran[0].name, link)
    return ran


def _unexplained(model: nn.Module, known: tuple[Head, ...]) -> ValueError:
    names = [head.name for head in known]
    if len(names) > 1:
        return _several(names)
    example = repr(names[0]) if names else "'path.to.layer'"
    return ValueError(
        "`head` must be named where no linear map gives the logits, got None for what "
        f"{type(model).__name__} returns; name the layer with head={example}"
    )


def _several(names: Sequence[str]) -> ValueError:
    return ValueError(
        "`head` must name one of several heads whose weighted sum is not the model's output, "
        f"got None for {', '.join(names)}; choose one, as in head={names[0]!r}, or use capture_heads"
    )
