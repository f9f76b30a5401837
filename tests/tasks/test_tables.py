"""Tables in files: which columns are targets, what is standardised, and what is refused in one line."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from prescreen import load_task, rank
from prescreen.tasks import MultilabelTask, RegressionTask
from prescreen.tasks.tables import open_table, standardised

ROWS = 40
VALUES = np.random.default_rng(0).normal(3, 5, size=(ROWS, 4)).round(3)


def written(folder, ending, columns):
    path = folder / f"table{ending}"
    table = pa.table(columns)
    if ending == ".parquet":
        pa.parquet.write_table(table, path)
    else:
        delimiter = {".csv": ",", ".tsv": "\t"}[ending]
        pa.csv.write_csv(table, path, pa.csv.WriteOptions(delimiter=delimiter))
    return path


def columns(*names):
    return {name: VALUES[:, index] for index, name in enumerate(names)}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize(
    ("names", "wanted", "targets"),
    [
        (("a", "b", "c", "d"), "", "d"),  # the last one
        (("a", "target", "c", "d"), "", "target"),
        (("y", "x1", "x2", "x3"), "", "y"),
        (("label_cat", "a", "Label_dog", "d"), "", "label_cat Label_dog"),
        (("y1", "a", "y2", "yield"), "", "y1 y2"),
        (("a", "target", "c", "d"), "#c, a", "c a"),
        (("targeted", "labelled", "years", "d"), "", "d"),
    ],
)
def test_targets_are_named_or_told_by_their_names(tmp_path, ending, names, wanted, targets):
    path = written(tmp_path, ending, columns(*names))
    table = open_table(f"{path}{wanted}")
    assert list(table.names) == targets.split()
    chosen = [names.index(one) for one in table.names]
    torch.testing.assert_close(table.targets, torch.from_numpy(VALUES[:, chosen]).float())
    rest = [index for index in range(4) if index not in chosen]
    inputs = (VALUES[:, rest] - VALUES[:, rest].mean(0)) / VALUES[:, rest].std(0)
    np.testing.assert_allclose(table.inputs, inputs, atol=1e-5)


def test_a_regression_is_standardised_and_several_labels_are_not(tmp_path):
    values = columns("a", "b") | {"label_1": VALUES[:, 2] > 3, "label_2": VALUES[:, 3] > 3}
    path = written(tmp_path, ".parquet", values)
    regression = RegressionTask.from_file(f"{path}#b", probe_size=8)
    assert regression.sizes["in_features"] == 3
    assert len(regression.probe) == 8
    targets = torch.cat([target for _, target in [next(regression.batches(32, 0))]])
    assert abs(targets.mean()) < 0.5
    assert 0.5 < targets.std() < 1.5
    labels = MultilabelTask.from_file(path, probe_size=8)
    assert labels.sizes["num_classes"] == 2
    assert set(next(labels.batches(32, 0))[1].unique().tolist()) == {0.0, 1.0}
    assert MultilabelTask.from_file(path, probe_size=9).fingerprint != labels.fingerprint


def test_a_constant_column_is_no_number_to_divide_by():
    values = torch.stack([torch.full((9,), 1e6 + 0.1), torch.arange(9.0)], dim=1)
    found = standardised(values)
    assert (found[:, 0].abs() < 1).all()
    assert found[:, 1].std(correction=0) == pytest.approx(1.0)


@pytest.mark.parametrize("image_size", [None, 6])
def test_a_column_of_paths_is_of_images(tmp_path, image_size):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    names = [f"photos/{number}.png" for number in range(12)]
    path = written(tmp_path, ".csv", {"file": names, "age": VALUES[:12, 0]})
    task = RegressionTask.from_file(path, probe_size=4, image_size=image_size)
    assert tuple(task.probe.shape) == (4, 3, *((8, 10) if image_size is None else (6, 6)))
    inputs, _ = open_table(path, image_size)[:2]
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("keys", "shape", "expected"),
    [
        (("x", "y"), (9, 5), (9, 5)),
        (("x_train", "y_train"), (9, 6, 7), (9, 1, 6, 7)),
        (("images", "targets"), (9, 20, 20, 3), (9, 3, 20, 20)),
        (("inputs", "targets"), (9, 3, 20, 20), (9, 3, 20, 20)),
    ],
)
def test_archives(tmp_path, keys, shape, expected):
    rng = np.random.default_rng(0)
    values = dict(zip(keys, (rng.normal(size=shape), rng.normal(size=(9, 2))), strict=True))
    np.savez(tmp_path / "data.npz", **values)
    table = open_table(tmp_path / "data.npz")
    assert tuple(table.inputs.shape) == expected
    assert table.names == (f"{keys[1]} 0", f"{keys[1]} 1")


def faulty(folder):
    """A case's name to the file, and what its one line says."""
    text = {"city": ["Bonn"] * 9, "n": [1.0] * 9, "y": [2.0] * 9}
    empty = {"a": [1.0, None, 2.0], "b": [1.0, 2.0, 3.0]}
    yield "text", written(folder, ".csv", text), "got 'Bonn' in column 'city'"
    yield "missing", written(folder, ".tsv", empty), "got 1 empty or infinite ones in column 'a'"
    path = written(folder, ".parquet", columns("a", "b"))
    yield "unknown", f"{path}#c", r"behind # that the table has \(a, b\), got c"
    yield "only targets", f"{path}#a,b", "a column that is no target, got none"
    yield "no file", folder / "none.csv", "must be a file, got"
    (folder / "x.xlsx").write_bytes(b"x")
    yield "ending", folder / "x.xlsx", r"must end with .csv, .tsv, .parquet or .npz, got"
    (folder / "bad.parquet").write_bytes(b"x" * 100)
    yield "damaged", folder / "bad.parquet", "must be a readable table, got"
    (folder / "head.csv").write_text("a,b\n")
    yield "no rows", folder / "head.csv", "must be a table with rows, got none"
    (folder / "twice.csv").write_text("a,a,y\n1,2,3\n")
    yield "twice", folder / "twice.csv", "must be a readable table, got .* 2 times"
    (folder / "bad.npz").write_bytes(b"PK" + b"x" * 50)
    yield "damaged archive", folder / "bad.npz", "must be an undamaged archive, got"
    np.savez(folder / "keys.npz", a=np.zeros(3))
    yield "keys", folder / "keys.npz", "must have the keys x_train and y_train or .*, got a in"
    np.savez(folder / "short.npz", x=np.zeros((5, 2)), y=np.zeros(4))
    yield "lengths", folder / "short.npz", r"got \(5, 2\) and \(4,\)"
    yield "columns of an archive", f"{folder / 'short.npz'}#a", "must name no columns of an archive"


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path):
    for case, path, message in faulty(tmp_path):
        with pytest.raises(ValueError, match=message) as raised:
            RegressionTask.from_file(path)
        line = str(raised.value)
        assert line.startswith("`data` must "), case
        assert "\n" not in line, case


@pytest.mark.parametrize(
    ("kind", "task"), [("regression", RegressionTask), ("multilabel", MultilabelTask)]
)
def test_a_table_is_a_kind_of_data_with_the_options_of_its_task(tmp_path, kind, task):
    values = columns("a", "b") | {"c": (VALUES[:, 2] > 3).astype(float)}
    path = written(tmp_path, ".csv", values)
    made = load_task(f"{kind}:{path}#c", probe_size=8)
    same = task.from_file(f"{path}#c", probe_size=8)
    assert (made.name, made.fingerprint) == (f"{kind}:{path}#c", same.fingerprint)
    with pytest.raises(
        ValueError, match=f"^`num_classes` must be left out for {kind}:PATH, got 3$"
    ):
        load_task(f"{kind}:{path}", num_classes=3)


def test_networks_are_ranked_on_a_table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 6))
    values = {f"x{index}": x[:, index] for index in range(6)} | {"y": 900 * np.sin(x[:, 0]) + 5e4}
    task = RegressionTask.from_file(written(tmp_path, ".csv", values), probe_size=64)

    def make(width):
        return lambda in_features, num_outputs: torch.nn.Sequential(
            torch.nn.Linear(in_features, width),
            torch.nn.ReLU(),
            torch.nn.Linear(width, num_outputs),
        )

    ranking = rank({"narrow": make(1), "wide": make(64)}, task)
    assert [row.name for row in ranking] == ["wide", "narrow"]
