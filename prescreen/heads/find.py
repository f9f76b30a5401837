"""Finding heads: the layers that turn features into predictions, by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import get_args

from torch import nn

from prescreen.heads.layers import Head, is_layer, layers_of
from prescreen.heads.roles import Role, Row, holds_all, row_of
from prescreen.heads.wrappers import require_whole, unwrap

# Where most models of a library keep their heads; the others are in roles.py. The first row that leads
# to a layer is used; the names in a row belong together.
TRANSFORMERS = (
    ("cls_classifier", "distillation_classifier"),
    ("class_labels_classifier",),
    ("decode_head.classifier",),
    ("classification_head",),
    ("classifier",),
    ("score",),
    ("qa_outputs",),
    ("lm_head",),
)
TORCHVISION = (
    ("classifier",),
    ("fc",),
    ("heads",),
    ("head",),
)


def find_heads(
    model: nn.Module, head: str | nn.Module | None = None, *, role: Role | None = None
) -> tuple[Head, ...]:
    """The layers that seem to turn features into predictions, several for a model with several heads.

    This is told from the model alone. ``capture`` runs it, and reads what gives the logits, whatever
    they are called.

    Args:
        model: any model, also wrapped by torch.compile or DataParallel.
        head: the layer itself or its path. If None, heads are looked for where timm, transformers,
            torchvision and diffusers keep theirs; failing that, in a model that is not theirs, the
            linear layer or convolution (also a transposed one) registered last is the head.
        role: what the head predicts: ``"classes"``, ``"boxes"``, ``"masks"``, ``"keypoints"`` or
            ``"noise"``. If it is given, only layers that are known by name are found.

    Raises:
        ValueError: ``head`` is not such a layer of the model, or none is known.
    """
    found = known_heads(model, head, role)
    if found:
        return found
    root = unwrap(model)
    if type(root).__module__.partition(".")[0] in ("transformers", "torchvision", "diffusers"):
        raise _unknown(root, "")
    layers = layers_of(root)
    if not layers:
        raise ValueError(
            f"`model` must have a Linear or Conv layer, got none in {type(root).__name__}"
        )
    return layers[-1:]


def known_heads(
    model: nn.Module, head: str | nn.Module | None = None, role: Role | None = None
) -> tuple[Head, ...]:
    """The heads named by the user or by the model's library; empty if no name is known.

    Raises:
        ValueError: the named head is not one, or that of the role is not known.
    """
    root = unwrap(model)
    if not isinstance(root, nn.Module):
        raise ValueError(f"`model` must be an nn.Module, got {type(root).__name__}")
    require_whole(root)
    if head is not None and role is not None:
        raise ValueError(f"`role` must be None where a head is named, got {role!r}")
    if head is not None:
        return (_named_by_user(root, head),)
    row = row_of(root, role)
    by_class = row and (lambda model: _layers_at(model, row.paths(model)))
    by_library = FINDERS if role in (None, "classes") else ()
    # The logits of a main head are checked, so that it need not be looked for inside.
    models = _around(root) if role else [root]
    found = [by_class(root)] if by_class else []
    found += [find(model) for model in models for find in by_library]
    for layers in filter(None, found):
        names = {id(module): name for name, module in root.named_modules()}
        return tuple(Head(names[key], one) for key, one in {id(one): one for one in layers}.items())
    if role is not None:
        raise _unknown(root, f" the role {role!r} of")
    return ()


def _around(model: nn.Module) -> list[nn.Module]:
    """The model, the child that has all of its parameters, that one's child of this kind, and so on."""
    whole = [model]
    while inner := [child for child in whole[-1].children() if holds_all(child, model)]:
        whole.append(inner[0])
    return whole


def row_with(model: nn.Module, head: Head) -> Row | None:
    """The row of a model's roles that a head is in."""
    for role in get_args(Role):
        row = row_of(model, role)
        if row and any(layer is head.module for layer in _layers_at(model, row.paths(model))):
            return row
    return None


def timm_heads(model: nn.Module) -> list[nn.Module]:
    """The classifier in timm's configuration."""
    settings = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    listed = settings.get("classifier") if isinstance(settings, Mapping) else None
    if not listed:
        return []
    names = (listed,) if isinstance(listed, str) else tuple(listed)
    # A few distilled models list only one of their two heads (timm 1.0.31: levit_384_s8).
    layers = _layers_at(model, (*names, "head_dist"))
    if not layers:
        raise ValueError(
            f"`model` must have a prediction head at {', '.join(names)}, got {type(model).__name__} "
            "without; build it with num_classes of at least 1 or give head='path.to.layer'"
        )
    return layers


def transformers_heads(model: nn.Module) -> list[nn.Module]:
    """The output embeddings of a language model, or the usual names of other tasks."""
    output_embeddings = getattr(model, "get_output_embeddings", None)
    if not callable(output_embeddings):
        return []
    embeddings = output_embeddings()
    if isinstance(embeddings, nn.Module):
        return _layers_within(embeddings)
    return _first_row(model, TRANSFORMERS)


def torchvision_heads(model: nn.Module) -> list[nn.Module]:
    """The usual names, only in torchvision's own classes: elsewhere ``fc`` may be any layer."""
    if not any(base.__module__.startswith("torchvision.") for base in type(model).__mro__):
        return []
    return _first_row(model, TORCHVISION)


# Tried in order; the first that finds a layer decides. Another kind of model is one more function.
FINDERS: tuple[Callable[[nn.Module], list[nn.Module]], ...] = (
    timm_heads,
    transformers_heads,
    torchvision_heads,
)


def _named_by_user(model: nn.Module, head: str | nn.Module) -> Head:
    modules = dict(model.named_modules(remove_duplicate=False))
    if isinstance(head, nn.Module):
        names = [name for name, module in modules.items() if unwrap(module) is unwrap(head)]
        if not names:
            got = str(head).partition("\n")[0]
            raise ValueError(f"`head` must be a layer of the model, got another, {got}")
        return Head(names[0], unwrap(head))
    name = head
    while name not in modules and name.startswith(("module.", "_orig_mod.")):
        name = name.partition(".")[2]
    if name in modules and is_layer(unwrap(modules[name])):
        return Head(name, unwrap(modules[name]))
    layers = [layer for layer, module in modules.items() if is_layer(module)]
    inside = [layer for layer in layers if layer.startswith(f"{name}.")]
    close = inside[-3:] or get_close_matches(name, layers, cutoff=0.4) or layers[-3:]
    problem = f"which is {type(modules[name]).__name__}" if name in modules else "which is unknown"
    raise ValueError(
        f"`head` must be the name of a Linear or Conv layer, got {head!r}, {problem}; "
        f"close to it: {', '.join(close) or 'none'}"
    )


def _unknown(model: nn.Module, what: str) -> ValueError:
    return ValueError(
        f"`head` must be named for{what} {type(model).__name__}, where none is known, got None; "
        "name the layer with head='path.to.layer'"
    )


def _first_row(model: nn.Module, rows: Iterable[tuple[str, ...]]) -> list[nn.Module]:
    return next(filter(None, (_layers_at(model, row) for row in rows)), [])


def _layers_at(model: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    layers = []
    for name in names:
        try:
            layers += _layers_within(model.get_submodule(name))
        except AttributeError:
            continue  # not every variant of a model has every head
    return layers


def _layers_within(module: nn.Module) -> list[nn.Module]:
    """The last layer of a module; of a list of parallel modules, the last layer of each."""
    if isinstance(module, nn.ModuleList):
        return [layer for child in module for layer in _layers_within(child)]
    return [layer for layer in module.modules() if is_layer(layer)][-1:]
