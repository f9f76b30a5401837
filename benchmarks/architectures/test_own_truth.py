"""The benchmark whose truth is our own training: its lists, its images, and its table."""

import io
import math
from functools import partial

import numpy as np
import pytest
import torch
from benchmark_modules import load_benchmark

from prescreen import READOUTS, UNTRAINED, Reading, Trajectory, load_task

own_truth = load_benchmark("own_truth")
table = load_benchmark("own_truth_table")
untrained_proxies = load_benchmark("untrained_scores")


def test_the_candidates_are_known_distinct_and_the_same_every_time():
    for space in own_truth.SPACES.values():
        names = [candidate.name for candidate in space.candidates()]
        assert len(set(names)) == len(names) == 24
        assert names == [candidate.name for candidate in space.candidates()]


def test_probe_validation_and_test_have_no_image_in_common(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the images extra is not installed")
    arrow = pytest.importorskip("pyarrow")
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 40)):
        encoded = []
        for pixels in generator.integers(256, size=(count, 8, 8, 3), dtype=np.uint8):
            file = io.BytesIO()
            image.fromarray(pixels).save(file, "PNG")
            encoded.append({"bytes": file.getvalue()})
        columns = {"img": encoded, "label": [i % 2 for i in range(count)]}
        parquet.write_table(arrow.table(columns), tmp_path / f"{split}-0.parquet")
    task = load_task(tmp_path, probe_size=10)
    (validation, _), (test, labels) = own_truth.labelled_images(tmp_path, task, 10, 20)
    assert len(validation) == 10
    assert len(test) == len(labels) == 20
    every = torch.cat([task.probe, validation, test]).flatten(1)
    assert len(every.unique(dim=0)) == 40
    with pytest.raises(SystemExit, match="31 test images are needed, got 30"):
        own_truth.labelled_images(tmp_path, task, 11, 20)


def made_up(count):
    """Better candidates have higher values; a proxy that knows only some, and one that knows none."""
    names = [f"n{i}" for i in range(count)]
    measured = [*READOUTS, *UNTRAINED, *table.GRID, "cpu_seconds", "training_accuracy"]
    parts = {f"az_nas.{part}": math.nan for part in untrained_proxies.PARTS}
    untrained, brief, full = {}, {}, {}
    for i, name in enumerate(names):
        some = math.nan if i < 3 else float(i)
        untrained[name] = Trajectory(
            [Reading(0, {"naswot": math.nan, "synflow": some, "parameters": 1.0 * i, **parts})]
        )
        brief[name] = Trajectory(
            [Reading(s, dict.fromkeys(measured, i / 100), training_loss=2.0) for s in (1, 2)]
        )
        full[name] = Trajectory([Reading(9, {"test_accuracy": i / 100, "cpu_seconds": 1.0})])
    return names, untrained, brief, full


def test_the_table_from_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(table, "bootstrap", partial(table.bootstrap, rounds=20))
    names, untrained, brief, full = made_up(22)
    brief["n0"] = full["n1"] = Trajectory([])  # failed
    table.write_results(tmp_path / "timm.csv", "timm", names, untrained, brief, full)
    table.print_table("timm", tmp_path)
    printed = capsys.readouterr().out
    assert "21 candidates of 'timm', truth after 9 steps, brief 2" in printed
    lines = {line.split("  ")[0]: line for line in printed.splitlines()}
    assert "1.00 [1.00, 1.00]" in lines["prescreen (default panel)"]
    assert lines["synflow"].split()[-1] == "2"  # n1 has no truth
    assert "naswot" in printed.partition("not defined for these candidates: ")[2]
    assert lines["sample gradient"].count("1.00 [") == len(table.SCALES)
    # Lower is better, all inverted but n0, which failed and is last: 1 − 6 · 2660 / (21 · 440).
    assert lines["head gradient"].count("-0.73 [") == len(table.SCALES)


def test_missing_or_too_few_results_are_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^space: no results of 'vit' in .*; train them first$"):
        table.print_table("vit", tmp_path)
    table.write_results(tmp_path / "vit.csv", "vit", *made_up(3))
    with pytest.raises(SystemExit, match="at least 20 are needed for intervals, got 3"):
        table.print_table("vit", tmp_path)
