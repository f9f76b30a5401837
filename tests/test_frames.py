"""Tables of what was measured: pandas, Parquet and notebooks."""

import io
import json
import math
import re
import sys
from html.parser import HTMLParser

import pytest
import toy
from toy import BAD, GOOD, TRAINING, make_task

from prescreen import Reading, rank
from prescreen.reading import Trajectory
from prescreen.readouts import Readout

HOSTILE = "<script>alert(1)</script>\x1b[31m&\"'\n"


@pytest.fixture(scope="module")
def ranking():
    return rank(
        {**GOOD, HOSTILE: toy.tiny, **BAD},
        make_task(),
        training=TRAINING,
        extra={"name": lambda model: 3.0},  # like a column that is there anyway
    )


def test_a_ranking_is_a_table_of_its_rows(ranking):
    pytest.importorskip("pandas")
    table = ranking.to_pandas()
    assert len(table) == len(ranking)
    for number, row in enumerate(ranking):
        got = table.iloc[number]
        assert got["name"] == row.name
        assert got["rank"] == row.rank if row.rank else got.isna()["rank"]
        assert json.loads(got["config"]) == dict(row.config)
        for name in ranking.readouts:
            assert got[name] == row.values[name] if row.rank else True
        assert got["readout name"] == 3.0 if row.rank else True
    assert str(table["rank"].dtype) == "Int64"


def test_a_trajectory_and_a_reading_are_tables(ranking):
    pytest.importorskip("pandas")
    for row in ranking:
        table = row.trajectory.to_pandas()
        assert table["step"].tolist() == [one.step for one in row.trajectory]
        for name in ranking.readouts if len(table) else ():
            assert table[name].tolist() == pytest.approx(
                row.trajectory.series(name)[1], nan_ok=True
            )
    one = Reading(3, {"a": 0.5})
    assert one.to_pandas()["a"].tolist() == [0.5]
    assert math.isnan(one.to_pandas()["seconds"][0])
    assert len(Trajectory().to_pandas()) == 0
    odd = Trajectory([Reading(1, {"a": 1.0}), Reading(2, {"b": 2.0})]).to_pandas()
    assert odd["b"].isna().tolist() == [True, False]


def test_parquet_gives_the_table_back(ranking, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    for source in (ranking, ranking.best.trajectory, ranking.best.trajectory.last):
        source.to_parquet(tmp_path / "it.parquet")
        pandas.testing.assert_frame_equal(
            pandas.read_parquet(tmp_path / "it.parquet"), source.to_pandas()
        )


@pytest.mark.parametrize("module", ["pandas", "pyarrow"])
def test_what_is_missing_is_named_in_one_line(monkeypatch, tmp_path, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"^`to_\w+` needs the 'frames' extra: pip install "):
        Reading(1, {"a": 1.0}).to_parquet(tmp_path / "it.parquet")


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def parsed(html):
    parser = _Tags()
    parser.feed(html)
    return parser


def test_notebook_tables_are_escaped_and_complete(ranking):
    found = parsed(ranking._repr_html_())
    assert set(found.tags) == {"table", "thead", "tbody", "tr", "th", "td", "div"}
    assert found.tags.count("tr") == 1 + sum(row.rank is not None for row in ranking)
    text = "".join(found.text)
    assert text.isprintable()
    assert "<script>alert(1)</script>" in text
    assert all(f"{row.name}: {row.status}: {row.reason}" in text for row in ranking.rows[4:])
    assert all(note in text for note in ranking.notes)
    trajectory = ranking.best.trajectory
    assert parsed(trajectory._repr_html_()).tags.count("tr") == 1 + len(trajectory)
    assert parsed(trajectory.last._repr_html_()).tags.count("tr") == 2
    odd = Trajectory([Reading(1, {HOSTILE: 1.0})])._repr_html_()
    assert "script" not in parsed(odd).tags
    parsed(Trajectory()._repr_html_())


def test_a_reading_shows_what_it_has():
    bare = Reading(5, {"a": 0.5, "b": math.nan})
    assert repr(bare) == "Reading(step=5, values={'a': 0.5, 'b': nan})"
    full = Reading(5, {"a": 0.5}, 1.25, 0.5, 7, "x", 0.25)
    assert eval(repr(full)) == full
    table = str(Trajectory([bare, Reading(6, {"a": 1.0}, training_loss=0.25)]))
    assert re.sub(" +", " ", table).splitlines()[-1] == "6 1 nan 0.250"
    assert str(Trajectory()) == "no readings"


def test_readouts_of_the_panel_may_be_called_like_columns():
    pandas = pytest.importorskip("pandas")
    own = {"score": Readout(lambda head: head.logits.std()), "step": Readout(lambda head: 1.0)}
    table = rank(GOOD, make_task(), training=TRAINING, readouts=own).to_pandas()
    assert {"score", "readout score", "step", "readout step"} <= set(table.columns)
    assert not table.columns.duplicated().any()
    pandas.read_csv(io.StringIO(table.to_csv()))
