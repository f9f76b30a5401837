"""Texts and token files: what is read of them, how it is numbered, and what is held out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prescreen.tasks import LanguageTask, load_task

TEXT = "to be, or not to be: that is the question.\n" * 30


def tokens_of(task):
    inputs, targets = next(task.batches(10_000, 0))
    ids = inputs["input_ids"] if isinstance(inputs, dict) else inputs
    return torch.cat([ids, targets[:, -1:]], 1)


def opened(path, *tokenizer, **options):
    return LanguageTask.from_files(path, *tokenizer, **{"context": 8, "probe_size": 4, **options})


def test_characters_are_numbered_in_order(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    task = opened(tmp_path / "a.txt")
    known = sorted(set(TEXT))
    assert task.sizes == {"num_classes": len(known), "vocab_size": len(known), "max_length": 8}
    # Windows in the order of the text.
    rows = {"".join(known[one] for one in row) for row in tokens_of(task).tolist()}
    assert rows <= {TEXT[i : i + 9] for i in range(len(TEXT))}
    assert "".join(known[one] for one in task.probe[0].tolist()) in TEXT
    assert opened(tmp_path).fingerprint == task.fingerprint


def test_any_character_is_one(tmp_path):
    text = "héllo 𝔘nicode ± \ud7ff\n" * 40
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert opened(tmp_path / "a.txt").sizes["vocab_size"] == len(set(text))


@pytest.mark.parametrize(
    ("files", "held"),
    [
        (("train.txt", "val.txt"), "val.txt"),
        (("train.txt", "test.txt", "valid.txt"), "valid.txt"),
        (("train/a.txt", "train/b.txt", "validation/c.txt"), "validation/c.txt"),
        (("wiki.train.tokens", "wiki.test.tokens"), "wiki.test.tokens"),
        (("train-00000-of-00002.txt", "train-00001-of-00002.txt", "test-0.txt"), "test-0.txt"),
    ],
)
def test_named_splits_are_the_probe(tmp_path, files, held):
    letters = dict(zip(files, "abcdef", strict=False))
    for name, letter in letters.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(letter * 200)
    task = opened(tmp_path)
    read = {letter for name, letter in letters.items() if "train" in name or name == held}
    known = ["\n", *sorted(read)]
    assert {known[one] for one in task.probe.unique().tolist()} == {letters[held]}
    trained = {known[one] for one in tokens_of(task).unique().tolist()} - {"\n"}
    assert trained == {letter for name, letter in letters.items() if "train" in name}


def test_of_other_files_a_tenth_is_held_out_by_the_seed(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text(chr(97 + number) * 100)
    (tmp_path / "notes.pdf").write_bytes(b"\0")
    drawn = set()
    for seed in range(4):
        task = opened(tmp_path, seed=seed)
        probe = set(task.probe.unique().tolist()) - {0}
        assert len(probe) <= 2
        assert probe.isdisjoint(tokens_of(task).unique().tolist())
        drawn |= probe
    assert len(drawn) > 2
    assert opened(tmp_path, seed=1).fingerprint == opened(tmp_path, seed=1).fingerprint


def test_copies_of_held_out_texts_are_not_trained_on(tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text("ab"[number // 3] * 200)
    (tmp_path / "other.txt").write_text("c" * 200)
    task = opened(tmp_path)
    trained = set(tokens_of(task).unique().tolist()) - {0}
    assert trained.isdisjoint(set(task.probe.unique().tolist()) - {0})


def test_a_probe_may_be_other_files(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("zzzz" * 40)
    task = opened(tmp_path / "a.txt", probe=tmp_path / "b.txt")
    assert set(task.probe.unique().tolist()) == {len(set(TEXT))}
    with pytest.raises(ValueError, match="`probe` must be of other texts than those of training"):
        opened(tmp_path / "a.txt", probe=tmp_path / "a.txt")


IDS = torch.randint(300, (2000,), generator=torch.Generator().manual_seed(0)).numpy()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("ids.npy", lambda path: np.save(path, IDS.astype(np.uint16))),
        ("ids.npy", lambda path: np.save(path, IDS.astype(np.uint32))),
        ("ids.bin", lambda path: IDS.astype("<u2").tofile(path)),
        ("ids.bin", lambda path: IDS.astype("<u4").tofile(path)),
        ("ids.npz", lambda path: np.savez(path, ids=IDS)),
        ("ids.npz", lambda path: np.savez(path, IDS)),
    ],
)
def test_token_files_are_the_ids_in_them(tmp_path, name, write):
    write(tmp_path / name)
    expected = LanguageTask(torch.from_numpy(IDS), context=8, probe_size=4)
    assert (
        opened(tmp_path / name).fingerprint
        == LanguageTask(torch.from_numpy(IDS).int(), context=8, probe_size=4).fingerprint
    )
    task = load_task(f"text:{tmp_path / name}", probe_size=4)
    assert task.sizes == {**expected.sizes, "max_length": 128}


def test_an_archive_may_have_splits_and_sequences_a_mask(tmp_path):
    np.savez(tmp_path / "a.npz", train=IDS, val=IDS[:100] + 1)
    assert opened(tmp_path / "a.npz", probe_size=50).probe.shape == (12, 8)
    rows, mask = IDS.reshape(100, 20), np.ones((100, 20))
    mask[:, 15:] = 0
    np.savez(tmp_path / "b.npz", input_ids=rows, attention_mask=mask.astype(int))
    task = opened(tmp_path / "b.npz")
    assert task.sizes["max_length"] == 19
    assert task.probe["loss_mask"].sum(1).tolist() == [14] * 4
    np.save(tmp_path / "c.npy", rows * mask.astype(int))
    assert opened(tmp_path / "c.npy", padding_id=0).probe["loss_mask"].sum() <= 4 * 14


class Words:
    """As tokenizers are: `encode` gives an object with ids."""

    mask_token_id, eos_token_id = 1, 0

    def encode(self, text):
        made = type("Encoding", (), {})()
        made.ids = [2 + len(word) for word in text.split()]
        return made

    def __len__(self):
        return 40


@pytest.mark.parametrize("objective", ["causal", "masked"])
def test_a_tokenizer_gives_ids_vocabulary_mask_and_end(tmp_path, objective):
    for name in ("train-0.txt", "train-1.txt", "val.txt"):
        (tmp_path / name).write_text(TEXT)
    (tmp_path / "val.txt").write_text(TEXT.replace("question", "answer"))
    task = opened(tmp_path, Words(), objective=objective)
    assert task.sizes["vocab_size"] == 40
    ids = (task.probe if objective == "causal" else task.probe["input_ids"]).unique().tolist()
    assert (1 in ids) == (objective == "masked")
    words = {2 + len(word) for word in TEXT.split()}
    assert set(tokens_of(opened(tmp_path, Words())).unique().tolist()) == words | {0}
    by_function = opened(tmp_path, lambda text: [len(word) for word in text.split()])
    assert by_function.sizes["vocab_size"] == max(words) - 2 + 1


def test_tokenizers_of_hugging_face(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.WordLevelTrainer(special_tokens=["[UNK]", "[MASK]"])
    made.train_from_iterator([TEXT], trainer)
    (tmp_path / "a.txt").write_text(TEXT)
    task = opened(tmp_path / "a.txt", made, objective="masked")
    assert task.sizes["vocab_size"] == made.get_vocab_size()
    assert made.token_to_id("[MASK]") in task.probe["input_ids"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, r"`data` must be a text file, .*, got nothing there: .*none.txt$"),
        ("a.txt", b"\xff\xfe", "`data` must be UTF-8 text, got byte 0xff at 0 in .*a.txt$"),
        ("folder", "", "`data` must be a text file, .*, got a folder without: .*folder$"),
        ("a.txt", b"caf\xe9 \n" * 90, "`data` must be UTF-8 text, got byte 0xe9 at 3 in .*a.txt$"),
        ("a.txt", b"", "`ids` must be a tensor of integers"),
        ("a.txt", b"short", "`probe_size` must be from 2 to 2 for 0 sequences of 8 tokens, got 4"),
        ("a.npy", b"\x93NUMPY", "`data` must be a readable file of ids, got .*a.npy: "),
        ("a.npz", b"PK\3\4", "`data` must be a readable file of ids, got .*a.npz: "),
        ("a.bin", b"abc", "`data` must have ids of 16 bits, got 3 bytes in .*a.bin$"),
        ("a.npy", np.zeros(9), r"`data` must have integers \(T,\) .*, got float64 \(9,\) in "),
        ("a.npy", np.array([-1, 2]), r"`data` must have ids from 0 to 2\^31 - 1, got -1 in "),
        ("a.npy", np.array([object()]), "`data` must be a readable file of ids, got .*a.npy: "),
        ("a.npz", {"x": np.ones(3)}, "`data` must have one of the keys train, .*, got x in "),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, str):
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(ValueError, match=message) as caught:
        opened(path)
    assert "\n" not in str(caught.value)


SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tiny_shakespeare"


@pytest.mark.skipif(
    not SHAKESPEARE.is_dir(), reason="Tiny Shakespeare is not in ../shared/data/tiny_shakespeare"
)
def test_tiny_shakespeare_has_its_known_characters():
    task = load_task(f"text:{SHAKESPEARE}")
    assert task.sizes == {"num_classes": 65, "vocab_size": 65, "max_length": 128}
    assert task.probe.shape == (256, 128)
    assert task.probe.unique().numel() > 50
