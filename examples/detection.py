"""Rank detectors on images with boxes, then train the best one and look at what it finds."""

from functools import partial

import torch
from prescreen.search_spaces import detector
from torchvision.ops import box_iou

from prescreen import Training, rank
from prescreen.tasks import DetectionTask

SMALL = {"depth": 1, "width": 8, "norm": "batch", "neck": "none", "head": "fcos", "head_depth": 1}


def draw(count: int, seed: int) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Noisy images, each with a bright square (class 1) and a dark, wide rectangle (class 2)."""
    randoms = torch.Generator().manual_seed(seed)
    images = 0.5 + 0.1 * torch.randn(count, 3, 64, 96, generator=randoms)
    boxes = []
    for image in images:
        x, y = torch.randint(0, 24, (2,), generator=randoms).tolist()
        image[:, y : y + 24, x : x + 24] += 0.3
        image[:, y + 10 : y + 30, x + 36 : x + 70] -= 0.3
        boxes.append(torch.tensor([[x, y, x + 24, y + 24], [x + 36, y + 10, x + 70, y + 30]]))
    return images.clamp(0, 1), boxes, [torch.tensor([1, 2])] * count


def main() -> None:
    images, boxes, labels = draw(120, seed=0)
    unlabelled, truth, _ = draw(24, seed=1)
    task = DetectionTask(images, boxes, labels, probe=unlabelled, augment=True)

    configs = [SMALL, SMALL | {"width": 16}, SMALL | {"neck": "fpn"}, SMALL | {"head": "retinanet"}]
    networks = {detector.name(config): partial(detector.build, config) for config in configs}
    training = Training(steps=30, batch_size=8, optimizer="adamw")
    ranking = rank(networks, task, training=training)
    print(ranking)

    torch.manual_seed(1)
    model = networks[ranking.rows[0].name](**task.sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _, batch in zip(range(100), task.batches(8, 0), strict=False):
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()
    with torch.no_grad():
        found = model.eval()(task.probe)
    pairs = zip(found, truth, strict=True)
    overlaps = torch.cat([box_iou(one["boxes"][:2], own.float()).amax(0) for one, own in pairs])
    print(
        f"Objects that one of the two best boxes overlaps by half: {(overlaps > 0.5).float().mean():.2f}"
    )


if __name__ == "__main__":
    main()
