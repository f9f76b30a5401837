"""Keep the best checkpoint of your own training loop and stop it, from unlabelled inputs."""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn

from prescreen import CheckpointSelector, EarlyStopping, Monitor


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None], dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    seen, unseen = images[:400], images[1000:]

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    monitor = Monitor(unseen, seen=seen, readouts=["stable_information", "gap/confidence"])
    selector, stopping = CheckpointSelector(tempfile.mkdtemp()), EarlyStopping(min_delta=0.01)
    for step in range(1, 601):
        batch = torch.randint(len(seen), (32,))
        loss = nn.functional.cross_entropy(model(seen[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            reading = monitor.read(model, step)
            selector.update(reading, model)
            print(step, {name: round(value, 3) for name, value in reading.values.items()})
            if stopping.update(reading):
                print(stopping.reason)
                break

    print(selector.best)
    model.load_state_dict(selector.load())
    accuracy = (model.eval()(unseen).argmax(1) == labels[1000:]).float().mean()
    print(f"accuracy on the unlabelled images, now with their labels: {accuracy:.3f}")


if __name__ == "__main__":
    main()
