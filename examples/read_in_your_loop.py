"""Read a model's head inside your own training loop; the model is left exactly as it was."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from prescreen import read


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None], dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    unlabelled = images[1500:]

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for step in range(1, 101):
        batch = torch.randint(1500, (64,))
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            values = read(model, unlabelled)
            print(step, {name: round(value, 3) for name, value in values.items()})


if __name__ == "__main__":
    main()
