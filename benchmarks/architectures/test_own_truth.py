"""The benchmark whose truth is our own training: its lists, its images, and its table."""

import io
import math
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.architectures import own_truth, table
from benchmarks.architectures.measure import last_values
from benchmarks.baselines.az_nas import PARTS
from benchmarks.common import images, metrics, results
from benchmarks.common.readouts import MEASURED
from prescreen import Reading, load_task
from prescreen.reading import Trajectory


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
    (validation, _), (test, labels) = images.labelled_images(tmp_path, task, 10, 20)
    assert len(validation) == 10
    assert len(test) == len(labels) == 20
    every = torch.cat([task.probe, validation, test]).flatten(1)
    assert len(every.unique(dim=0)) == 40
    with pytest.raises(SystemExit, match="`data` must have 31 unused test images, got 30"):
        images.labelled_images(tmp_path, task, 11, 20)


def made_up(count, failed=()):
    """Better candidates have higher values; one proxy is defined for only some, and one for none."""
    measured = [*MEASURED, *table.GRID, "cpu_seconds", "training_accuracy"]
    rows = []
    for i in range(count):
        row = {"run": f"n{i}", "untrained.naswot": math.nan, "untrained.parameters": 1.0 * i}
        row |= {f"untrained.az_nas.{part}": math.nan for part in PARTS}
        row["untrained.synflow"] = math.nan if i < 3 else float(i)
        if i != 1 or not failed:
            row |= {"test_accuracy": i, "full.cpu_seconds": 1.0, "full.steps": 9}
        if i != 0 or not failed:
            values = dict.fromkeys(measured, i / 100)
            readings = [Reading(step, values, training_loss=2.0) for step in (1, 2)]
            row |= {"brief.steps": 2, **last_values(Trajectory(readings))}
        rows.append(row)
    return rows


def test_the_table_from_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, rounds=20))
    results.write(tmp_path / "timm.csv", made_up(22, failed=True))
    own_truth.print_tables("timm", results.read(tmp_path / "timm.csv"))
    printed = capsys.readouterr().out
    assert "21 candidates of 'timm', truth after 9 steps, brief 2" in printed
    lines = {line.split("  ")[0]: line for line in printed.splitlines()}
    assert "1.00 [1.00, 1.00]" in lines["prescreen (first panel)"]
    assert lines["synflow"].split()[-1] == "2"  # n1 has no truth
    assert "naswot" in printed.partition("not defined for these candidates: ")[2]
    assert lines["sample gradient"].count("1.00 [") == len(table.SCALES)
    # Lower is better, all inverted but n0, which failed and is last: 1 − 6 · 2660 / (21 · 440).
    assert lines["head gradient"].count("-0.73 [") == len(table.SCALES)


def test_too_few_results_are_one_line():
    with pytest.raises(SystemExit, match="at least 20 runs with a truth, got 3"):
        table.score_table(made_up(3))


def test_losses_are_summed_and_their_second_half_averaged():
    readings = [Reading(i, {"a": i}, training_loss=loss) for i, loss in enumerate((4.0, 2.0, 1.0))]
    values = last_values(Trajectory(readings))
    assert values == {"a": 2, "tse": 7.0, "tse_e": 1.5, "last_loss": 1.0}
    assert last_values(Trajectory([])) == {}
