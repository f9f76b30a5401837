"""What `channels_last` and fused optimizers are worth, and what the rule takes.

    python -m benchmarks.throughput.layouts                    # ten minutes
    python -m benchmarks.throughput.layouts --spaces darts --rounds 3

Steps of forward, backward and update of one network in turn: as torch does them, with convolutions in
channels_last, and with the fused optimizer. One thread, CPU seconds, ratios of medians; above 1 is
faster. "taken" is what `prescreen.training.execution` chooses for the network as its space builds it:
some of ours are built in channels_last already. The last rows are geometric means of the networks that
are trained in channels_last, and of the others.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from benchmarks.common.options import command
from prescreen import Candidate
from prescreen.predictions import model_logits
from prescreen.spaces.chosen import as_candidates
from prescreen.text import plain_table
from prescreen.training.execution import execution_of, lay_out

_SIZES = {"timm": 32, "vit": 28}  # of images; 16 in other spaces
_SPACES = ["nas_bench_201", "nas_bench_101", "darts", "mobile", "vit", "timm"]
_TIMM = (
    *("test_resnet", "test_efficientnet", "test_convnext", "test_vit", "resnet10t", "regnetx_002"),
    *("mobilenetv3_small_050", "lcnet_050", "ghostnet_050", "starnet_s050", "convnext_atto"),
    *("efficientvit_b0", "pvt_v2_b0", "levit_128s"),
)
_CPU = torch.device("cpu")


def main() -> None:
    """One row a network."""
    numbers = {"candidates": 3, "batch": 64, "rounds": 8}
    args = command(__doc__, spaces=_SPACES, **numbers).parse_args()
    torch.set_num_threads(1)
    rows = []
    means: dict[bool, list[float]] = {True: [], False: []}
    for space in args.spaces:
        size = _SIZES.get(space, 16)
        for candidate in candidates_of(space, args.candidates):
            torch.manual_seed(0)
            model = candidate.model(num_classes=10, in_channels=3, image_size=(size, size))
            images = torch.randn(args.batch, 3, size, size)
            built, taken = is_laid_out(model), execution_of(model, _CPU)
            seconds = measured(model.train(), images, args.rounds)
            ratios = [seconds["plain"] / seconds[key] for key in ("layout", "fused")]
            means[built or taken.channels_last].append(ratios[0])
            cells = f"{1000 * seconds['plain']:.1f}", *(f"{ratio:.2f}" for ratio in ratios)
            rows.append([_short(candidate), *cells, f"{taken}{' (built so)' * built}"])
            print(" ".join(rows[-1]), flush=True)
    for is_taken, ratios in means.items():
        if ratios:
            name = f"{len(ratios)} with{'' if is_taken else 'out'} channels_last"
            rows.append([name, "", f"{statistics.geometric_mean(ratios):.2f}", "", ""])
    print(plain_table(["", "plain ms", "channels_last", "fused", "taken"], rows, (0, 4)))


def candidates_of(space: str, count: int) -> list[Candidate]:
    """Some candidates of a space, or the chosen networks of timm."""
    if space != "timm":
        return as_candidates(space, count, 0)
    return [one for one in as_candidates("timm_models") if one.name in _TIMM]


def is_laid_out(model: nn.Module) -> bool:
    """Whether a builder has chosen channels_last already."""
    convolutions = [one for one in model.modules() if isinstance(one, nn.Conv2d)]
    return any(not one.weight.is_contiguous() for one in convolutions)


def measured(model: nn.Module, images: torch.Tensor, rounds: int) -> dict[str, float]:
    """Median CPU seconds of a step, by how it is done."""
    labels = torch.randint(10, (len(images),))
    lay_out(model, channels_last=False)  # some of our builders have chosen the other one
    laid_out = copy.deepcopy(model)
    lay_out(laid_out, channels_last=True)
    steps = {
        "plain": stepping(copy.deepcopy(model), images, labels),
        "layout": stepping(laid_out, images, labels),
        "fused": stepping(model, images, labels, fused=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if number:  # the first one warms up
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def stepping(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, fused: bool = False
) -> Callable[[], None]:
    """A step of training on one batch: forward, backward and update."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=fused or None
    )

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model_logits(model(images)), labels).backward()
        optimizer.step()

    return step


def _short(candidate: Candidate) -> str:
    return candidate.name if len(candidate.name) <= 32 else f"{candidate.name[:31]}…"


if __name__ == "__main__":
    main()
