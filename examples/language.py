"""Rank small language models on a text, beside their loss on what is held out of it.

The next character is known without annotation, so this loss is free. It is of the brief training and
not what the ranking looks at.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from prescreen import Training, rank
from prescreen.tasks import LanguageTask

BRIEF = Training(steps=60, batch_size=8, optimizer="adamw", lr=4e-3)


def main() -> None:
    # Any file or folder of text, or of token ids, will do: here Python's own source is read.
    source = Path(argparse.__file__).read_text(encoding="utf-8")
    with TemporaryDirectory() as folder:
        (Path(folder) / "source.txt").write_text(source, encoding="utf-8")
        task = LanguageTask.from_files(folder, context=64, probe_size=32, name="source")
    print(f"{task.sizes['vocab_size']} characters, {len(source):,} in all")

    extra = {"held_out_loss": task.held_out_loss}
    ranking = rank("gpt", task, samples=4, training=BRIEF, extra=extra)
    print(ranking)
    for row in ranking:
        if row.rank is not None:
            print(f"{row.name}: {row.values['held_out_loss']:.3f} nats a character, held out")


if __name__ == "__main__":
    main()
