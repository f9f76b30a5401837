"""Rank U-Nets for diffusion, train the best one, keep its best checkpoint, and draw digits with it."""

from functools import partial
from tempfile import mkdtemp

import torch
from prescreen.search_spaces import unet

from prescreen import CheckpointSelector, Monitor, Training, rank
from prescreen.readouts import held_out_loss
from prescreen.tasks import DiffusionTask

SMALL = {"depth": 1, "width": 12, "kernel": 3, "norm": "group", "skip": "concatenate"}


def sampled(model: torch.nn.Module, kept: torch.Tensor, count: int) -> torch.Tensor:
    """Images from noise by DDIM (arXiv 2010.02502), every 20th time."""
    x = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    times = [*range(len(kept) - 1, 0, -20)]
    with torch.no_grad():
        for now, after in zip(times, [*times[1:], 0], strict=True):
            noise = model(x, torch.full((count,), now))
            clean = ((x - (1 - kept[now]).sqrt() * noise) / kept[now].sqrt()).clamp(-1, 1)
            x = kept[after].sqrt() * clean + (1 - kept[after]).sqrt() * noise
    return x.clamp(-1, 1)


def main() -> None:
    task = DiffusionTask.from_data("digits")
    configs = [SMALL, SMALL | {"depth": 2}, SMALL | {"width": 4}, SMALL | {"skip": "none"}]
    networks = {unet.name(config): partial(unet.build, config) for config in configs}
    extra = {"held_out_loss": task.held_out_loss}  # the noise of the probe is known
    ranking = rank(networks, task, training=Training(steps=60, batch_size=64), extra=extra)
    print(ranking)
    for row in ranking:
        print(f"{row.name}: held-out loss {row.values['held_out_loss']:.3f}")

    torch.manual_seed(1)
    model = networks[ranking.rows[0].name](**task.sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    readouts = {"held_out_loss": held_out_loss(task.targets)}
    monitor = Monitor(task.probe, readouts=readouts, link=task.link)
    selector = CheckpointSelector(mkdtemp(), readouts)
    for step, batch in zip(range(1, 301), task.batches(64, 0), strict=False):
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()
        if step % 50 == 0:
            selector.update(monitor.read(model, step), model)
    model.load_state_dict(selector.load())
    print(f"held-out loss of the checkpoint: {task.held_out_loss(model):.3f}")
    drawn = sampled(model.eval(), task.batches.noising.kept.float(), 8)[:, 0]
    for line in drawn.unbind(1):
        print("  ".join("".join(" .:#"[int(2 * v + 1.99)] for v in digit) for digit in line))


if __name__ == "__main__":
    main()
