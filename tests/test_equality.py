"""Records with NaN are equal if all they say is, in every Python and wherever the NaN comes from."""

import copy
import math
import pickle
from dataclasses import fields, replace

import pytest

from prescreen import Reading
from prescreen.ranking.explanation import Explanation
from prescreen.ranking.row import Row
from prescreen.reading import Trajectory
from prescreen.report.data import Entry
from prescreen.report.orders import Agreement

NAN = math.nan
READING = Reading(5, {"entropy": NAN, "margin": 0.5}, replicates={"entropy": (NAN, 1.0)})
RECORDS = [
    READING,
    Row(
        rank=None,
        name="a|b",
        score=NAN,
        score_low=NAN,
        score_high=NAN,
        tied=False,
        status="collapsed",
        reason="one class",
        values={"entropy": NAN},
        step=5,
        seconds=1.0,
        training_loss=NAN,
        parameters=7,
        config={"width": [3, NAN]},
        trajectory=Trajectory([READING]),
    ),
    Explanation("a", 1, 2, NAN, NAN, NAN, False, "ok", "", {"entropy": NAN}, {"entropy": None}),
    Entry("a", values={"entropy": NAN}, trajectory=Trajectory([READING])),
    Agreement(NAN, NAN, NAN, 3),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: type(one).__name__)
def test_copies_are_equal_and_any_other_field_is_not(record):
    copied = pickle.loads(pickle.dumps(record))  # its NaN is another object
    assert copied == record == copy.deepcopy(record)
    assert [copied] == [record]
    assert record != "another kind"
    assert record.__eq__("another kind") is NotImplemented
    for field in fields(record):
        assert (replace(record, **{field.name: "changed"}) != record) is field.compare, field.name
    with pytest.raises(TypeError, match="unhashable"):
        hash(record)


@pytest.mark.parametrize(
    "values",
    [
        {"entropy": 0.0, "margin": 0.5},
        {"entropy": NAN, "margin": NAN},
        {"entropy": NAN},
        {"entropy": NAN, "margin": 0.5, "cot": 1.0},
        {"entropy": math.inf, "margin": 0.5},
    ],
)
def test_other_values_are_not_equal(values):
    assert replace(READING, values=values) != READING


def test_a_reading_is_what_its_json_says():
    assert Reading.from_json(READING.to_json()) == READING
    assert Trajectory([Reading.from_json(READING.to_json())]) == Trajectory([READING])
