import numpy as np
import pytest
import torch
from test_layouts import Items
from torch.utils.data import TensorDataset
from toy_images import parquet, pictures, pyarrow, write_parquet

from prescreen.tasks import ImageTask, load_task

N = 40
PIXELS = torch.arange(N, dtype=torch.uint8)[:, None, None, None].expand(N, 1, 4, 4).contiguous()
PIXELS = PIXELS + torch.arange(16, dtype=torch.uint8).view(4, 4)


def of_tensors(labels, folder, **options):
    return ImageTask.from_dataset(TensorDataset(PIXELS, torch.tensor(labels)), **options)


def of_unsigned(labels, folder, **options):
    unsigned = torch.from_numpy(np.array(labels, np.uint64))
    return ImageTask.from_dataset(TensorDataset(PIXELS, unsigned), **options)


def of_items(labels, folder, **options):
    return ImageTask.from_dataset(Items(PIXELS, labels), **options)


def of_npz(labels, folder, **options):
    np.savez(folder / "a.npz", x=PIXELS.numpy(), y=np.array(labels))
    return load_task(folder / "a.npz", augment=False, **options)


def of_parquet(labels, folder, **options):
    write_parquet(folder / "a.parquet", pictures(N, "L", (4, 4)), labels)
    return load_task(folder / "a.parquet", augment=False, **options)


SOURCES = [of_tensors, of_unsigned, of_items, of_npz, of_parquet]
every_source = pytest.mark.parametrize("source", SOURCES)


def trained_on(task):
    """Label by the mean of its image: the order of the data."""
    inputs, targets = next(task.batches(N, 0))
    return targets[inputs.mean((1, 2, 3)).argsort()].tolist()


@every_source
@pytest.mark.parametrize(
    "distinct",
    [
        [100001 + i for i in range(10)],
        [2**40, 2**40 + 5],
        [0, 1, 2**62],
        [3, 2**63 - 1],
        [0, 100],
        [10 * i for i in range(10)],
    ],
)
def test_identifiers_are_numbered_in_order_and_kept(source, distinct, tmp_path):
    labels = [distinct[i * 7 % len(distinct)] for i in range(N)]
    task = source(labels, tmp_path, probe_size=4)
    dense = source([distinct.index(label) for label in labels], tmp_path, probe_size=4)
    assert task.num_classes == len(distinct)
    assert task.classes == tuple(distinct)
    assert task.fingerprint == dense.fingerprint


@pytest.mark.parametrize("source", [of_unsigned, of_items, of_npz, of_parquet])
def test_the_largest_labels_of_64_bits_are_identifiers_too(source, tmp_path):
    labels = [[2**64 - 1, 0, 2**63][i % 3] for i in range(N)]
    if source in (of_npz, of_parquet):
        labels = np.array(labels, np.uint64)
    task = source(labels, tmp_path, probe_size=4)
    assert task.classes == (0, 2**63, 2**64 - 1)
    assert set(trained_on(task)) == {0, 1, 2}


@every_source
@pytest.mark.parametrize(
    ("distinct", "num_classes"),
    [
        (range(10), 10),
        ([0, 1, 2, 4, 5, 6, 7, 8, 9], 10),
        ([0, 9], 10),
        ([1, 2, 3], 4),
        ([10], 11),
        ([*range(20), 39], 40),
    ],
)
def test_class_indices_stay_though_some_classes_are_absent(source, distinct, num_classes, tmp_path):
    labels = [distinct[i % len(distinct)] for i in range(N)]
    task = source(labels, tmp_path, probe_size=2)
    assert (task.num_classes, task.classes) == (num_classes, None)
    assert set(trained_on(task)) <= set(distinct)


@every_source
def test_a_number_of_classes_that_is_given_holds(source, tmp_path):
    labels = [[0, 1, 99][i % 3] for i in range(N)]
    assert source(labels, tmp_path, probe_size=4, num_classes=100).num_classes == 100
    with pytest.raises(
        ValueError, match=r"^the labels.* must be class indices from 0 to 9, got 99$"
    ):
        source(labels, tmp_path, probe_size=4, num_classes=10)


@pytest.mark.parametrize("source", [of_tensors, of_items, of_npz, of_parquet])
def test_truth_values_are_two_classes(source, tmp_path):
    task = source([i % 2 == 0 for i in range(N)], tmp_path, probe_size=4)
    assert task.num_classes == 2
    assert next(task.batches(8, 0))[1].dtype == torch.int64


@pytest.mark.parametrize("source", [of_npz, of_parquet])
def test_names_are_classes_in_alphabetical_order(source, tmp_path):
    task = source(["dog" if i % 3 else "cat" for i in range(N)], tmp_path, probe_size=4)
    assert (task.num_classes, task.classes) == (2, ("cat", "dog"))


ONE_HOT = np.eye(2, dtype=int)[np.arange(N) % 2].tolist()


@pytest.mark.parametrize(
    ("source", "labels", "message"),
    [
        *((source, [-1, 0] * (N // 2), "got -1") for source in SOURCES if source != of_unsigned),
        (of_tensors, [0.0, 1.0] * (N // 2), "must be integers .*, got torch.float32"),
        (of_items, [0.0, 1.0] * (N // 2), r"must be integers, got [01]\.0 in item"),
        (of_npz, [0.0, 1.0] * (N // 2), "class indices or names, got float64"),
        (of_parquet, [0.0, 1.0] * (N // 2), "class indices or names, got 0.0 in row 0 of"),
        (of_tensors, ONE_HOT, r"must be integers \(n,\), got torch.int64 \(40, 2\)"),
        (of_items, ONE_HOT, r"must be integers, got \[[01], [01]\] in item"),
        (of_items, [torch.zeros(3, 3)] * N, "must be integers, got tensor.* in item"),
        (of_npz, ONE_HOT, r"must have y of shape \(40,\), got \(40, 2\)"),
        (of_parquet, ONE_HOT, r"class indices or names, got \[1, 0\] in row 0 of"),
        (of_tensors, [0j, 1j] * (N // 2), "must be integers .*, got torch.complex64"),
        (of_items, ["cat", "dog"] * (N // 2), "must be integers, got '...' in item"),
        (of_npz, [0j, 1j] * (N // 2), "class indices or names, got complex128"),
        (of_parquet, [b"cat", b"dog"] * (N // 2), "class indices or names, got b'cat' in row 0"),
    ],
)
def test_other_labels_are_refused(source, labels, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        source(labels, tmp_path, probe_size=4)
    assert "\n" not in str(caught.value)


def test_the_classes_of_a_data_set_are_the_tasks():
    data = Items(PIXELS, [i % 2 for i in range(N)])
    data.classes = ["no", "yes", "perhaps"]
    task = ImageTask.from_dataset(data, probe_size=4)
    assert (task.num_classes, task.classes) == (3, ("no", "yes", "perhaps"))
    assert ImageTask.from_dataset(data, probe_size=4, num_classes=4).classes is None


def test_labels_beyond_the_names_of_a_schema_are_refused(tmp_path):
    for label in (2, 2**64 - 1, -1):
        some = pictures(4)
        write_parquet(tmp_path / "a.parquet", some, [0, 1, 0, 1], names=["a", "b"])
        table = parquet.read_table(tmp_path / "a.parquet")
        kind = pyarrow.int64() if label < 0 else pyarrow.uint64()
        labels = pyarrow.array([0, 1, label, 1], kind)
        parquet.write_table(table.set_column(1, "label", labels), tmp_path / "a.parquet")
        with pytest.raises(ValueError, match=rf"class indices from 0 to 1, got {label}$"):
            load_task(tmp_path / "a.parquet", probe_size=2)
