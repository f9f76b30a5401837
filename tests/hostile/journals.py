"""Journals of run folders: the resumed ranking equals the uninterrupted one, or is refused."""

import toy
from judge import refusing
from kinds import Kind, in_file
from mutators import BYTES, JSON_LINES, LINES

from prescreen import Training
from prescreen.ranking.run import rank

CANDIDATES = {**toy.GOOD, "broken": toy.broken, "explosive": toy.explosive}
TRAINING = Training(steps=4, batch_size=16)


def ranking(out=None):
    return rank(CANDIDATES, toy.make_task(), training=TRAINING, readings=2, out=out)


def measured(ranked):
    """All that was measured, apart from time."""
    readings = [
        [{**reading.to_json(), "seconds": 0} for reading in row.trajectory] for row in ranked
    ]
    return toy.without_seconds(ranked), readings


def prepare(folder):
    return measured(ranking(folder / "run"))


def check(folder, right):
    journal = folder / "run" / "journal.jsonl"
    before = journal.read_bytes()
    try:
        with refusing():
            found = measured(ranking(folder / "run"))
    except BaseException:
        assert journal.read_bytes() == before, "the journal was changed, though it was refused"
        raise
    assert found == right, "another ranking"
    assert measured(ranking(folder / "run")) == right, "another ranking the second time"


KIND = Kind(
    prepare,
    in_file("run/journal.jsonl", {**BYTES, **LINES, **JSON_LINES}),
    check,
    cases=230,
)
