"""Views: a second look at the same samples, at changed inputs or with a changed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor, nn

from prescreen.captured import Capture
from prescreen.checks import require_one_of
from prescreen.heads.capturing import capture, capture_roles
from prescreen.heads.execute import on_device_of
from prescreen.heads.noise import weight_noise
from prescreen.predictions import Link
from prescreen.tasks.images.views import Moved as Moved
from prescreen.tasks.images.views import cropped, mirrored, shifted
from prescreen.tasks.token_views import dropped_tokens
from prescreen.text import named_line
from prescreen.trees import map_tensors, tensors_in

# A name in VIEWS, or a function of inputs that returns None where it has no view of them.
ViewChoice: TypeAlias = str | Callable[[Any], Any] | None

# In smaller images a shift by one pixel is a large one.
_MIN_PIXELS = 8


class Noisy(NamedTuple):
    """The same inputs, to be read while there is noise in the model's weights."""

    inputs: Any


def view_of(inputs: Any, choice: ViewChoice) -> Any:
    """The chosen view of inputs; None if none is chosen, or the function has none of them.

    Raises:
        ValueError: it is neither a function nor the name of a view, the function fails, or the inputs
            are not of its kind.
    """
    if choice is None:
        return None
    if callable(choice):
        try:
            return choice(inputs)
        except Exception as error:
            raise ValueError(
                f"`view` must be a function of the inputs as the model takes them, such as "
                f"{_example(inputs)}, got {named_line(error)}"
            ) from error
    require_one_of("view", choice, VIEWS)
    return VIEWS[choice](inputs)


def _example(inputs: Any) -> str:
    """A view of such inputs, as it would be written."""
    if isinstance(inputs, Mapping):
        name = repr(next(iter(inputs), "pixel_values"))
        return f"lambda inputs: {{**inputs, {name}: inputs[{name}].flip(-1)}}"
    if isinstance(inputs, tuple | list):
        return "lambda inputs: (inputs[0].flip(-1), *inputs[1:])"
    return "lambda inputs: inputs.flip(-1)"


def default_view(inputs: Any) -> Any:
    """Images are shifted if they are the only input; all else is read with noisy weights."""
    tensors = [*tensors_in(inputs)]
    is_image = len(tensors) == 1 and _is_image(tensors[0])
    is_image = is_image and min(tensors[0].shape[-2:]) >= _MIN_PIXELS
    return VIEWS["shift" if is_image else "noise"](inputs)


def captures(
    model: nn.Module,
    inputs: Any,
    links: Mapping[str, Link],
    *,
    head: str | None,
    batch_statistics: bool,
) -> dict[str, Capture]:
    """The heads of several roles at some inputs, or at a view of them.

    Args:
        model: as for ``capture``.
        inputs: in the form that the model takes, `Moved` or `Noisy`; on any device.
        links: of each role; an empty one is that of the model's own head, which takes a forward pass of
            its own.
        head: dotted name of the model's own head, if it is not found.
        batch_statistics: as for ``capture``.
    """
    if isinstance(inputs, Noisy):
        with weight_noise(model):
            own = inputs.inputs
            return captures(model, own, links, head=head, batch_statistics=batch_statistics)
    inputs, places = inputs if isinstance(inputs, Moved) else (inputs, None)
    inputs = on_device_of(model, inputs)
    options: Any = {"batch_statistics": batch_statistics, "places": places}
    roles: Any = {role: link for role, link in links.items() if role}
    found: dict[Any, Capture] = capture_roles(model, inputs, roles, **options) if roles else {}
    if "" in links:
        found[""] = capture(model, inputs, head=head, link=links[""], **options)
    return found


def _of_images(
    change: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor] | None = None
) -> Callable[[Any], Moved]:
    """A change of all images among inputs, and of maps of predictions back to their places."""

    def changed(inputs: Any) -> Moved:
        if not any(map(_is_image, tensors_in(inputs))):
            got = ", ".join(f"{one.dtype} {tuple(one.shape)}" for one in tensors_in(inputs))
            raise ValueError(
                f"`inputs` must hold images (N, C, H, W) for this view, got {got or 'no tensor'}"
            )
        return Moved(map_tensors(inputs, lambda one: change(one) if _is_image(one) else one), back)

    return changed


def _is_image(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_floating_point()


VIEWS: dict[str, Callable[[Any], Any]] = {
    "shift": _of_images(shifted),
    "mirror": _of_images(mirrored, mirrored),
    "crop": _of_images(cropped),
    "tokens": dropped_tokens,
    "noise": Noisy,
}
