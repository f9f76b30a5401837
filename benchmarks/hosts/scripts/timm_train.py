"""timm's training script: its model, optimizer, schedule, mixup and averaged weights, and a result."""

import json
import tempfile

import timm
import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch.nn.functional import interpolate

from benchmarks.hosts.live.data import digits
from benchmarks.hosts.scripts.program import begin
from prescreen import CheckpointSelector, EarlyStopping, Monitor  # prescreen
from prescreen.loggers import logged  # prescreen


def main() -> None:
    """Train; the last line of the output is the result, as JSON."""
    program, data = begin(epochs=15), digits()
    inputs, labels = interpolate(data.train[0], (16, 16)), data.train[1]
    images, truth = interpolate(data.valid[0], (16, 16)), data.valid[1]
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=2e-3, weight_decay=0.05)
    schedule, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=program.epochs)
    mixup = Mixup(mixup_alpha=0.2, num_classes=10)
    criterion, average = SoftTargetCrossEntropy(), ModelEmaV3(model, decay=0.9)
    monitor, stopping = Monitor(images), EarlyStopping()  # prescreen
    selector = CheckpointSelector(tempfile.mkdtemp())  # prescreen

    @torch.no_grad()
    def accuracy() -> float:
        return (average.module.eval()(images).argmax(1) == truth).float().mean().item()

    updates, results = 0, []
    for epoch in range(program.epochs):
        model.train()
        for rows in torch.randperm(len(labels)).split(64):
            rows = rows[: len(rows) // 2 * 2]
            mixed, targets = mixup(inputs[rows], labels[rows])
            optimizer.zero_grad()
            criterion(model(mixed), targets).backward()
            optimizer.step()
            updates += 1
            average.update(model, step=updates)
        schedule.step(epoch + 1)
        results.append({"epoch": epoch, "top1": 100 * accuracy()})
        reading = monitor.read(average.module, updates)  # prescreen
        results[-1].update(logged(reading))  # prescreen
        selector.update(reading, average.module)  # prescreen
        if stopping.update(reading):  # prescreen
            break  # prescreen
    average.module.load_state_dict(selector.load())  # prescreen
    print(f"--result\n{json.dumps(results, indent=4, allow_nan=False)}")
    top = max(result["top1"] for result in results) / 100
    program.found(accuracy(), cut=1 - len(results) / program.epochs, top=top)


if __name__ == "__main__":
    main()
