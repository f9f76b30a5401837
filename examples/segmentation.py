"""Rank U-Nets for segmentation, then train the best one and keep its best checkpoint, without labels."""

from functools import partial
from tempfile import mkdtemp

import torch
from prescreen.search_spaces import unet

from prescreen import CheckpointSelector, Monitor, Training, rank
from prescreen.tasks import SegmentationTask

SMALL = {"depth": 2, "width": 8, "kernel": 3, "norm": "batch", "skip": "concatenate"}


def draw(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images with a disc and a square each; classes are background, disc and square."""
    randoms = torch.Generator().manual_seed(seed)
    at = torch.randint(6, 26, (4, count, 1, 1), generator=randoms)
    rows, columns = torch.arange(32).view(32, 1), torch.arange(32)
    is_disc = (rows - at[0]).square() + (columns - at[1]).square() < 25
    is_square = ((rows - at[2]).abs() < 5) & ((columns - at[3]).abs() < 5)
    masks = is_disc + 2 * (is_square & ~is_disc)
    images = (
        (masks == 1).float()
        - (masks == 2).float()
        + 0.7 * torch.randn(count, 32, 32, generator=randoms)
    )
    return images[:, None], masks


def main() -> None:
    images, masks = draw(200, seed=0)
    unlabelled, truth = draw(48, seed=1)
    task = SegmentationTask(images, masks, probe=unlabelled, augment=True)

    configs = [SMALL, SMALL | {"depth": 1}, SMALL | {"width": 4}, SMALL | {"skip": "none"}]
    networks = {unet.name(config): partial(unet.build, config) for config in configs}
    ranking = rank(networks, task, training=Training(steps=30, batch_size=16))
    print(ranking)

    torch.manual_seed(1)
    model = networks[ranking.rows[0].name](**task.sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    monitor, selector = Monitor(task.probe, view=task.views), CheckpointSelector(mkdtemp())
    for step, batch in zip(range(1, 101), task.batches(16, 0), strict=False):
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()
        if step % 20 == 0:
            selector.update(monitor.read(model, step), model)
    model.load_state_dict(selector.load())
    predicted = model.eval()(task.probe).argmax(1)
    for k, shape in ((1, "discs"), (2, "squares")):
        ours, true = predicted == k, truth == k
        print(f"IoU of {shape}: {(ours & true).sum() / (ours | true).sum():.2f}")


if __name__ == "__main__":
    main()
