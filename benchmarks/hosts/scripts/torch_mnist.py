"""PyTorch's first example: a convolutional network, Adadelta, a falling rate, a test every epoch."""

import tempfile

import torch
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import StepLR

from benchmarks.hosts.live.data import digits
from benchmarks.hosts.scripts.networks import convolutions
from benchmarks.hosts.scripts.program import begin
from prescreen import CheckpointSelector, EarlyStopping, Monitor  # prescreen


def main() -> None:
    """Train, test, save."""
    program, data = begin(epochs=30), digits()
    model = convolutions(16, 32)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = StepLR(optimizer, step_size=1, gamma=0.9)
    monitor, stopping = Monitor(data.unlabelled), EarlyStopping()  # prescreen
    selector = CheckpointSelector(tempfile.mkdtemp())  # prescreen
    accuracies: list[float] = []
    for epoch in range(1, program.epochs + 1):
        for images, labels in data.epoch():
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        schedule.step()
        accuracies.append(data.accuracy(model))
        reading = monitor.read(model, epoch)  # prescreen
        selector.update(reading, model)  # prescreen
        if stopping.update(reading):  # prescreen
            break  # prescreen
    model.load_state_dict(selector.load())  # prescreen
    cut = 1 - len(accuracies) / program.epochs
    program.found(data.accuracy(model), cut=cut, top=max(accuracies))


if __name__ == "__main__":
    main()
