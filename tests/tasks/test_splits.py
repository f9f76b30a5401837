import pytest
from toy_images import assert_task_is, pictures, write_folder, write_parquet

from prescreen.tasks import load_task

SOME, OTHERS = pictures(10), pictures(4, seed=1)
CLASSES = {"a": SOME[:5], "b": SOME[5:]}
LABELS = [0] * 5 + [1] * 5


TRAIN = ["Train", "TRAIN", "training", "Training", "train_images", "trainset", "trn"]
HELD = ["val", "Validation", "VALID", "val_set", "dev", "test", "Testing", "TEST", "eval"]


@pytest.mark.parametrize(
    ("train", "held"), [*((name, "val") for name in TRAIN), *(("train", name) for name in HELD)]
)
def test_usual_names_of_splits_are_understood_in_any_case(tmp_path, train, held):
    write_folder(tmp_path / train, CLASSES)
    write_folder(tmp_path, {held: OTHERS})
    assert_task_is(load_task(tmp_path, probe_size=4, augment=False), SOME, LABELS, OTHERS)


def test_the_probe_comes_from_validation_whatever_else_there_is(tmp_path):
    write_folder(tmp_path / "Train", CLASSES)
    write_folder(tmp_path / "Val", {"a": OTHERS[:2], "b": OTHERS[2:]})
    write_folder(tmp_path, {"TEST": pictures(4, seed=2), "unlabeled": pictures(4, seed=3)})
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "boxes.json").write_text("{}")
    assert_task_is(load_task(tmp_path, probe_size=4, augment=False), SOME, LABELS, OTHERS)


@pytest.mark.parametrize("name", ["train", "Training"])
def test_a_class_may_be_called_train(tmp_path, name):
    """Its images are in the folder itself, as those of other classes are."""
    write_folder(tmp_path, {name: SOME[:5], "ship": SOME[5:]})
    task = load_task(tmp_path, probe_size=2)
    assert task.classes == tuple(sorted([name, "ship"]))


@pytest.mark.parametrize("name", ["test", "val", "train", "eval", "Dev"])
def test_any_class_may_be_in_the_folder_train(tmp_path, name):
    write_folder(tmp_path / "train", {name: SOME[:5], "ship": SOME[5:]})
    assert load_task(tmp_path, probe_size=2).classes == tuple(sorted([name, "ship"]))


def test_names_that_only_resemble_those_of_splits_are_classes(tmp_path):
    names = ["1", "2", "contest", "extra", "invalid", "testudo", "train_station", "trains"]
    write_folder(tmp_path, {name: pictures(2, seed=i) for i, name in enumerate(names)})
    assert load_task(tmp_path, probe_size=2).classes == tuple(names)


FLAT, DEEP = ["0"], ["a/0", "b/0"]


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        ({"val": FLAT, "cats": FLAT, "dogs": FLAT}, "val beside cats, dogs"),
        ({"Testing": FLAT, "cats": FLAT, "dogs": FLAT}, "Testing beside cats, dogs"),
        ({"val": DEEP, "a": FLAT, "b": FLAT}, "val beside a, b"),
        ({"train": DEEP, "cats": FLAT, "dogs": FLAT}, "train beside cats, dogs"),
        ({"train": DEEP, "val": DEEP, "meta": FLAT}, "train, val beside meta"),
        ({"train": FLAT, "test": FLAT, "cats": FLAT}, "train, test beside cats"),
        ({"train": FLAT, "test": FLAT}, "train, test"),
        ({"val": DEEP, "test": DEEP}, "val, test"),
        ({"train": DEEP, "Training": DEEP}, "Training, train"),
        ({"train": DEEP, "val": DEEP, "Valid": DEEP}, "train, Valid, val"),
        ({"seg_train": DEEP, "seg_test": DEEP, "seg_pred": FLAT}, "seg_.*, seg_.* beside seg_pred"),
        ({"trainA": FLAT, "testA": FLAT}, "trainA, testA|testA, trainA"),
        ({"cats": ["train/0", "val/0"], "dogs": ["train/0", "val/0"]}, "train, val in .*cats"),
        ({"train": ["train/a/0", "train/b/0", "val/a/0"]}, "train, val in .*train"),
        ({"valid": FLAT, "faulty": FLAT}, "valid beside faulty"),
    ],
)
def test_what_may_be_splits_or_classes_is_refused_with_both_readings(tmp_path, folders, named):
    some = iter(pictures(40))
    for folder, files in folders.items():
        for file in files:
            path = tmp_path / folder / f"{file}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            next(some).save(path)
    with pytest.raises(
        ValueError,
        match=rf"^`data` must be clear about .*, got ({named}).*for splits, .*; for classes, ",
    ) as caught:
        load_task(tmp_path, probe_size=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "held"),
    [
        ("train/0000.parquet", "validation/0000.parquet"),
        ("Training-0.parquet", "Testing-0.parquet"),
        ("TRAIN.parquet", "VAL.PARQUET"),
        ("data/train-00000-of-00001.parquet", "data/valid-00000-of-00001.parquet"),
        ("data/train-0.parquet", "data/test_0.parquet"),
    ],
)
def test_parquet_splits_are_named_by_files_or_folders(tmp_path, train, held):
    for name, some, labels in ((train, SOME, LABELS), (held, OTHERS, None)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_parquet(path, some, labels)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    write_parquet(tmp_path / ".train-1.parquet", OTHERS, [0] * 4)
    assert_task_is(load_task(tmp_path, probe_size=4, augment=False), SOME, LABELS, OTHERS)


def test_tables_beside_image_files_are_not_taken_for_them(tmp_path):
    write_folder(tmp_path / "train", CLASSES)
    write_folder(tmp_path, {"val": OTHERS})
    (tmp_path / "train" / "metadata.parquet").write_bytes(b"not read")
    assert_task_is(load_task(tmp_path, probe_size=4, augment=False), SOME, LABELS, OTHERS)


def test_parquet_files_of_no_or_one_split_are_all_training_data(tmp_path):
    for names in (("a", "b"), ("test-0", "test-1")):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name, rows in zip(names, (slice(5), slice(5, None)), strict=True):
            write_parquet(folder / f"{name}.parquet", SOME[rows], LABELS[rows])
        assert len(load_task(folder, probe_size=4).batches.samples) == 6


@pytest.mark.parametrize("names", [("val", "test"), ("all", "test"), ("cats", "validation-0")])
def test_parquet_files_of_splits_without_training_are_refused(tmp_path, names):
    for name in names:
        write_parquet(tmp_path / f"{name}.parquet", SOME, LABELS)
    with pytest.raises(
        ValueError, match=r"^`data` must have files called train-… beside others, got .*\.parquet"
    ):
        load_task(tmp_path, probe_size=2)


def test_parquet_files_left_out_are_said(tmp_path, caplog):
    for name in ("train-0", "more"):
        write_parquet(tmp_path / f"{name}.parquet", SOME, LABELS)
    load_task(tmp_path, probe_size=2)
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        "left out more.parquet, named by no split"
    ]
