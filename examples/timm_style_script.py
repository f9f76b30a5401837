"""A script like timm's train.py, with an EMA of the weights; it needs no validation set."""

import json
import tempfile

import timm
import torch
from sklearn.datasets import load_digits
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3, random_seed
from torch.nn.functional import interpolate

from prescreen import CheckpointSelector, EarlyStopping, Monitor
from prescreen.loggers import logged

EPOCHS, BATCH = 8, 64


def main() -> None:
    random_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None], dtype=torch.float32) / 8 - 1
    images, labels = interpolate(images, (16, 16)), torch.tensor(digits.target)

    model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=2e-3, weight_decay=0.05)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=EPOCHS)
    mixup = Mixup(mixup_alpha=0.2, num_classes=10)
    criterion = SoftTargetCrossEntropy()
    model_ema = ModelEmaV3(model, decay=0.9)
    # The averaged weights are read and kept, as these would be deployed.
    monitor = Monitor(images[1200:])
    selector, stopping = CheckpointSelector(tempfile.mkdtemp()), EarlyStopping()

    updates, results = 0, []
    for epoch in range(EPOCHS):
        model.train()
        for rows in torch.randperm(1200).split(BATCH):
            inputs, targets = mixup(images[rows], labels[rows])
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
            updates += 1
            model_ema.update(model, step=updates)
        scheduler.step(epoch + 1)
        reading = monitor.read(model_ema.module, updates)
        selector.update(reading, model_ema.module)
        results.append({"epoch": epoch, **logged(reading)})  # what is undefined is not JSON
        if stopping.update(reading):
            break
    print(f"--result\n{json.dumps(results, allow_nan=False, indent=4)}")
    model.load_state_dict(selector.load())


if __name__ == "__main__":
    main()
