import types
from functools import partial

import pytest
import torch
from toy_networks import Tagger, tagger
from toy_tasks import tokens

from prescreen import Training, select_checkpoint
from prescreen.tasks import TokenTask

IDS = torch.arange(60).view(10, 6) % 7
LABELS = IDS % 3


def test_sizes_come_from_the_data_or_are_given():
    task = TokenTask(IDS, LABELS, probe_size=2)
    assert task.sizes == {"num_classes": 3, "vocab_size": 7, "max_length": 6}
    given = TokenTask(IDS, LABELS, probe_size=2, num_classes=5, vocab_size=30_000)
    assert given.sizes == {"num_classes": 5, "vocab_size": 30_000, "max_length": 6}
    assert given.fingerprint != task.fingerprint
    assert TokenTask(IDS, LABELS, probe=IDS[:2] + 4).sizes["vocab_size"] == 11


def test_the_loss_is_the_mean_over_tokens_that_have_a_label():
    task = tokens(0)
    ids, labels = next(task.batches(16, 0))
    assert (labels == -100).sum() == 16
    model = Tagger(8, 20, 4)
    shares = model(ids).softmax(-1)
    losses = [
        -shares[i, j, labels[i, j]].log() for i in range(16) for j in range(12) if labels[i, j] >= 0
    ]
    torch.testing.assert_close(task.loss(model, (ids, labels)), torch.stack(losses).mean())


def test_with_masks_models_are_called_with_keywords():
    mask = torch.ones_like(IDS)
    mask[:, 4:] = 0
    probe = {"input_ids": IDS[:2], "attention_mask": mask[:2]}
    task = TokenTask(IDS, LABELS, mask=mask, probe=probe)
    batch = next(task.batches(5, 0))
    assert task.inputs(batch).keys() == probe.keys()
    called = []
    model = Tagger(8, 7, 3)
    model.register_forward_pre_hook(lambda *call: called.append(call[1:]), with_kwargs=True)
    task.loss(model, batch).backward()
    ((args, keywords),) = called
    assert args == ()
    assert keywords.keys() == probe.keys()
    assert torch.equal(keywords["attention_mask"], mask[:5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ids": IDS.float()},
            r"`ids` must be a tensor of integers \(n, L\), got float32 \(10, 6\)",
        ),
        ({"ids": IDS[0]}, r"`ids` must be a tensor of integers \(n, L\), got int64 \(6,\)"),
        ({"ids": [[1, 2]]}, "`ids` must be a tensor of integers .*got list"),
        ({"ids": IDS - 1}, "`ids` must be at least 0 and below vocab_size=6, got -1"),
        ({"vocab_size": 6}, "`ids` must be at least 0 and below vocab_size=6, got 6"),
        ({"labels": LABELS[:, :5]}, r"`labels` must .* integers \(10, 6\), got int64 \(10, 5\)"),
        ({"num_classes": 2}, "`labels` must be at least 0 and below num_classes=2, got 2"),
        ({"labels": LABELS - 1}, "`labels` must be at least 0 and below num_classes=2, got -1"),
        (
            {"labels": LABELS * 0 - 100},
            "`labels` must have a class in every sequence, got one with -100 only",
        ),
        ({"mask": LABELS[:3]}, r"`mask` must .*\(10, 6\), got int64 \(3, 6\)"),
        ({"probe": {"input_ids": IDS}}, r"`probe` must .*got probe\['input_ids'\] int64"),
        ({"probe": IDS[:, :3]}, r"`probe` must .*probe int64 \(10, 6\), got probe int64 \(10, 3\)"),
        ({"probe": [1, 2]}, r"`probe` must .*got probe list"),
        ({"probe": {"probe": 3}}, r"`probe` must .*got probe\['probe'\] int"),
        ({"probe": IDS.int()}, r"`probe` must .*got probe int32 \(10, 6\)"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        TokenTask(**{"ids": IDS, "labels": LABELS, "probe_size": 2, **changes})
    assert "\n" not in str(caught.value)


def space():
    module = types.ModuleType("taggers")
    module.sample = lambda trial: {"width": trial.suggest_int("width", 4, 8)}
    module.build = lambda config, *, vocab_size, num_classes: Tagger(
        config["width"], vocab_size, num_classes
    )
    return module


@pytest.mark.parametrize("masked", [False, True])
def test_the_cost_of_a_candidate_is_that_of_one_sequence(masked):
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations.optuna import objective

    study = optuna.create_study(directions=["maximize", "minimize"])
    study.enqueue_trial({"width": 8})  # a narrower one may predict one class, and then it is pruned
    training = Training(steps=20, batch_size=8)
    task = tokens(0, masked=masked)
    search = objective(space(), task, training, value="ahead/expected_agreement", costs=["flops"])
    study.optimize(search, n_trials=1)
    (trial,) = study.trials
    width = 8
    # A multiplication and an addition for each of 12 tokens: three neighbours, then four classes.
    assert trial.values[1] == 2 * 12 * (3 * width * width + 4 * width)


@pytest.mark.parametrize("masked", [False, True])
def test_checkpoints_are_chosen_on_a_probe_of_keywords_as_well(masked, tmp_path):
    task = tokens(0, masked=masked)
    for number in (1, 2):
        torch.manual_seed(number)
        model = Tagger(8 * number, 20, 4)
        torch.save(model.state_dict(), tmp_path / f"{number}.pt")
    builders = [partial(tagger, 8), partial(tagger, 16)]
    found = select_checkpoint(
        sorted(tmp_path.iterdir()), builders, task, readouts=["gap/sample_gradient"]
    )
    assert len(found.order) == 2
