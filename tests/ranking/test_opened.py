"""Runs opened from their folders: what `rank` returned, what it measured, and nothing is touched."""

import json
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import toy
from toy import BAD, GOOD, SPACE, TRAINING, make_task

from prescreen.lines import content_of, line_of
from prescreen.ranking.opened import open_run
from prescreen.ranking.run import rank
from prescreen.readouts import Readout
from prescreen.spaces.candidate import Candidate

PANEL = ["sample_gradient", "rankme"]
BOTH = {**BAD, **GOOD}
MINE = {
    "mine": Readout(lambda head: head.logits.std(), higher_is_better=False),
    "entropy": Readout(lambda head: head.logits.amax(1)),  # higher is better, unlike the known one
    "size": Readout(lambda network: float(len(list(network.model.modules()))), ("network",)),
}


def undefined(head):
    return float("nan") if head.features.shape[1] == 8 else 1.0


# Arguments of one or several calls of rank in one folder.
RUNS = {
    "a plain one": [{"candidates": GOOD}],
    "failures": [{"candidates": BOTH}],
    "only failures": [{"candidates": BAD}],
    "several seeds": [{"candidates": BOTH, "seeds": 3, "readouts": PANEL}],
    "a committee": [{"candidates": BOTH, "readouts": ["committee/agreement", "entropy"]}],
    "a committee of one": [
        {"candidates": {"tiny": toy.tiny}, "readouts": ["committee/agreement", "entropy"]}
    ],
    "own readouts": [{"candidates": GOOD, "readouts": MINE}],
    "a measure left out": [
        {"candidates": GOOD, "readouts": {"u": Readout(undefined), "rankme": toy_readout}}
        for toy_readout in [Readout(lambda head: head.logits.norm())]
    ],
    "equal ones in their order": [
        {"candidates": [Candidate(f"c{n}", {"n": n}, toy.small) for n in (3, 1, 2)]}
    ],
    "configs in their order": [
        {"candidates": [Candidate("c", {"b": [1, {"z": None, "a": 0.1}], "a": "="}, toy.small)]}
    ],
    "own measurements": [{"candidates": GOOD, "extra": {"count": lambda model: 3.0}}],
    "by time": [{"candidates": GOOD, "training": toy.Training(seconds=0.05, batch_size=16)}],
    "one reading": [{"candidates": GOOD, "readings": 1, "readouts": PANEL}],
    "more seeds later": [
        {"candidates": GOOD, "readouts": PANEL},
        {"candidates": GOOD, "readouts": PANEL, "seeds": 2},
    ],
    "fewer seeds later": [
        {"candidates": GOOD, "readouts": PANEL, "seeds": 2},
        {"candidates": GOOD, "readouts": PANEL},
    ],
    "other candidates later": [{"candidates": GOOD}, {"candidates": {"small": toy.small, **BAD}}],
    "processes": [{"candidates": BOTH, "on": "processes,workers=2"}],
}


SLOW = {"processes": pytest.mark.slow}  # two more imports of torch


@pytest.mark.parametrize("kind", [pytest.param(k, marks=SLOW.get(k, ())) for k in RUNS])
def test_it_is_the_ranking_that_rank_returned(tmp_path, kind):
    for call in RUNS[kind]:
        given = {"training": TRAINING, **call, "out": tmp_path}
        ranking = rank(given.pop("candidates"), make_task(), **given)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    run = open_run(tmp_path)
    # NaN is no equal of itself, and its text is.
    assert repr(run.ranking) == repr(ranking)
    assert str(run.ranking) == str(ranking)
    assert run.ranking.to_json() == ranking.to_json() == (tmp_path / "ranking.json").read_text()
    assert run.ranking.to_csv() == ranking.to_csv()
    for row, was in zip(run.ranking, ranking, strict=True):
        assert [r.to_json() for r in row.trajectory] == [r.to_json() for r in was.trajectory]
    assert run.unfinished == ()
    assert run.seeds == ranking.seeds
    assert set(run.trajectories) == {row.name for row in ranking}
    assert run.samples == 32
    assert run.settings["task"].startswith("noise ")
    assert 0 < run.times[0] <= run.times[1]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def events(folder):
    first, *lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    return first, lines


def test_a_run_cut_anywhere_opens_with_what_is_done(tmp_path):
    """Within every third line; the ranking is that of candidates that are done, by all their seeds."""
    some = {**GOOD, "broken": toy.broken}
    rank(some, make_task(), training=TRAINING, readings=2, seeds=2, out=tmp_path / "run")
    first, lines = events(tmp_path / "run")
    folder = tmp_path / "cut"
    folder.mkdir()
    for count in (*range(0, len(lines) - 1, 3), len(lines) - 1):
        (folder / "journal.jsonl").write_bytes(first + b"".join(lines[:count]) + lines[count][:-1])
        assert list(folder.iterdir()) == [folder / "journal.jsonl"]
        run = open_run(folder)
        ends = [content_of(line[:-1]) for line in lines[:count]]
        keys = [e["candidate"] for e in ends if e["event"] in ("finished", "failed")]
        names = [json.loads(key)["name"] for key in keys]
        expected = {name for name in names if names.count(name) == 2}
        assert {row.name for row in run.ranking} == set(names)
        # The first line says which candidates there are.
        assert set(run.unfinished) == (set(some) - expected if count else set())
        assert run.ranking.seeds == (2 if names and set(names) == expected else 1)
    assert run.unfinished == ("broken",)


def test_a_run_that_goes_on_opens(tmp_path):
    seen = []

    def look(progress):
        run = open_run(tmp_path)
        seen.append((progress.finished, len(run.ranking), len(run.unfinished)))

    rank(GOOD, make_task(), training=TRAINING, readings=1, out=tmp_path, progress=look)
    assert all(done == ranked == len(GOOD) - left for done, ranked, left in seen)
    assert seen[-1] == (3, 3, 0)


def test_no_code_of_a_candidate_is_imported(tmp_path):
    """Neither the space's file nor anything that it imports has to be there any more."""
    space = tmp_path / "gone.py"
    space.write_text(SPACE.replace("9 * width", "width"))
    ranking = rank(str(space), make_task(), training=TRAINING, out=tmp_path / "run")
    space.unlink()
    code = """
        import sys
        from prescreen.ranking.opened import open_run
        run = open_run(sys.argv[1])
        print(run.ranking.to_json())
        assert not [name for name in sys.modules if "gone" in name or "toy" in name]
        assert set(run.codes) == {row.name for row in run.ranking}
        assert all("gone.py" in code for code in run.codes.values())
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ranking.to_json() + "\n"


def test_runs_of_earlier_layouts_open(tmp_path):
    folder = Path(__file__).parent / "runs" / "before_0.1"
    run = open_run(folder)
    assert [row.name for row in run.ranking] == ["large", "small", "tiny", *BAD]
    assert (run.schema, run.samples, run.given, run.times) == (1, 0, {}, (0, 0))
    # Without its outline, a journal of today is one of an earlier version.
    ranking = rank(GOOD, make_task(), training=TRAINING, readouts=PANEL, seeds=2, out=tmp_path)
    first, lines = events(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(first + b"".join(lines[1:]))
    found = open_run(tmp_path)
    assert (found.seeds, found.samples, found.given) == (2, 0, {})
    assert [(r.name, r.score, r.score_low) for r in found.ranking] == [
        (r.name, r.score, r.score_low) for r in ranking
    ]


def test_of_an_earlier_version_own_readouts_do_not_count(tmp_path):
    own = {"mine": Readout(lambda head: head.logits.std()), "rankme": MINE["entropy"]}
    rank(GOOD, make_task(), training=TRAINING, readouts=own, out=tmp_path)
    first, lines = events(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(first + b"".join(lines[1:]))
    run = open_run(tmp_path)
    assert run.ranking.readouts == ("rankme",)
    assert run.ranking.notes[-1].endswith("did not note which way is better: mine")
    assert all("mine" in row.values for row in run.ranking)


def test_another_version_continues_a_journal_without_an_outline(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(Path(__file__).parent / "runs" / "before_0.1", run)
    panel = ["sample_gradient", "isotropy", "synflow"]
    plain = replace(TRAINING, execution="plain")
    ranking = rank({**GOOD, **BAD}, make_task(), training=plain, readouts=panel, out=run)
    assert repr(open_run(run).ranking) == repr(ranking)
    assert open_run(run).given["on"] == "Here"


def test_what_a_run_was_asked_for_is_noted_once(tmp_path):
    for _ in range(3):
        rank(GOOD, make_task(), training=TRAINING, out=tmp_path)
    _, lines = events(tmp_path)
    assert [b'"event": "run"' in line for line in lines].count(True) == 1


def outline(**changes):
    plain = {"candidates": [], "seeds": 1, "samples": 0, "readouts": {}, "given": {}}
    return {"event": "run", **plain, **changes}


WRONG = {
    "another key": outline(more=1),
    "no seeds": outline(seeds=0),
    "seeds of another type": outline(seeds=True),
    "samples below 0": outline(samples=-1),
    "candidates of another form": outline(candidates=[{"name": "a"}]),
    "a candidate without a name": outline(candidates=[{"name": "", "config": {}}]),
    "a config of another form": outline(candidates=[{"name": "a", "config": []}]),
    "an unknown need": outline(readouts={"a": {"higher_is_better": True, "needs": ["x"]}}),
    "no need": outline(readouts={"a": {"higher_is_better": True, "needs": []}}),
    "needs that no readout has": outline(
        readouts={"a": {"higher_is_better": True, "needs": ["network", "head"]}}
    ),
    "a direction of another type": outline(
        readouts={"a": {"higher_is_better": 1, "needs": ["head"]}}
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_outlines_that_cannot_be_true_are_refused_in_one_line(tmp_path, kind):
    rank({"tiny": toy.tiny}, make_task(), training=TRAINING, out=tmp_path)
    first, lines = events(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(first + line_of(WRONG[kind]) + b"".join(lines))
    pattern = r"^`(folder|out)` must hold undamaged events, got .*of another form.* as line 2 of"
    for opening in (open_run, lambda out: rank(GOOD, make_task(), training=TRAINING, out=out)):
        with pytest.raises(ValueError, match=pattern):
            opening(tmp_path)


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    header = {"prescreen_journal": 4, "settings": {}}
    contents = {
        "no journal.jsonl": None,
        "a journal with a first line": b"",
        "a journal of prescreen, got another file": b"a,b\n",
        "schema 1 to 5, got 9": line_of({**header, "prescreen_journal": 9}),
        "a journal of `rank`, got": line_of(header),
        "events of 'x'": line_of(header) + line_of({"event": "started", "candidate": "x"}),
    }
    path = tmp_path / "journal.jsonl"
    for message, content in contents.items():
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^`folder` must ") as error:
            open_run(tmp_path)
        assert message in str(error.value) or content is None
        assert "\n" not in str(error.value)
