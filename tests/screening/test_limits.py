"""Limits: what is larger or slower than was asked for is a row with a reason, and is not trained."""

import json
import re

import pytest
import torch
from toy import GOOD, TRAINING, make_task, mlp, without_seconds

from prescreen.ranking.executors import Processes
from prescreen.ranking.run import rank
from prescreen.readouts.network import flops
from prescreen.screening.limits import Limits

PANEL = ["entropy", "flops"]


def ranked(candidates=GOOD, **changes):
    return rank(candidates, make_task(), training=TRAINING, readouts=PANEL, **changes)


def parameters(model):
    return sum(one.numel() for one in model.parameters())


def operations(model):
    return flops(model, make_task().probe[:1])


@pytest.mark.parametrize(
    ("limit", "cost", "on"),
    [
        ("max_params", parameters, "here"),
        ("max_flops", operations, "here"),
        pytest.param("max_flops", operations, Processes(1), marks=pytest.mark.slow),
    ],
)
def test_what_is_above_is_not_trained_and_what_is_equal_is(limit, cost, on):
    free = {row.name: row for row in ranked()}
    ranking = ranked(on=on, **{limit: cost(mlp(8))})
    *good, over = ranking.rows
    assert {row.name for row in good} == {"tiny", "small"}
    assert (over.name, over.status, over.rank) == ("large", "limit", None)
    found = float(re.match(r"[\d.,e+]+", over.reason)[0].replace(",", ""))
    assert found == pytest.approx(cost(mlp(32)), rel=1e-3)
    assert not over.trajectory
    # Those within are measured bit for bit as they are without limits.
    assert {row.name: row.values for row in good} == {
        row.name: free[row.name].values for row in good
    }


def test_latency_is_measured_on_the_device_with_the_batch_stated():
    within = ranked({"small": GOOD["small"]}, max_latency=1e9, max_params=1e9, max_flops=1e9)
    assert without_seconds(within) == without_seconds(ranked({"small": GOOD["small"]}))
    over = ranked({"small": GOOD["small"]}, max_latency=1e-6, latency_batch=4).rows[0]
    assert over.status == "limit"
    assert re.fullmatch(
        r"[\d.e-]+ ms for a batch of 4 on cpu with 1 thread, above 1e-06 ms", over.reason
    )


def test_a_network_is_left_as_it_was():
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Dropout(), mlp(4)).train()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    state = torch.get_rng_state()
    Limits(1e9, 1e9, 1e9, latency_batch=8).check(model, make_task().probe, "cpu")
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


class Uncountable(torch.nn.Module):
    def forward(self, x):
        if not torch.is_grad_enabled() and len(x) == 1:
            raise RuntimeError("not one alone")
        return x


def test_operations_that_cannot_be_counted_are_not_within():
    with pytest.raises(Exception, match=r"limit: FLOPs that cannot be counted: .*not one alone"):
        Limits(max_flops=1e9).check(Uncountable(), make_task().probe, "cpu")


def test_limits_are_settings_of_a_run_and_runs_without_do_not_note_them(tmp_path, caplog):
    ranked(out=tmp_path / "a")
    header = json.loads((tmp_path / "a" / "journal.jsonl").read_text().splitlines()[0])
    assert "limits" not in header["settings"]
    with pytest.raises(ValueError, match=r"of the same settings, .* limits None instead of"):
        ranked(out=tmp_path / "a", max_params=100)
    first = ranked(out=tmp_path / "b", max_params=100)
    seen = []
    again = ranked(out=tmp_path / "b", max_params=100, progress=seen.append)
    assert repr(again.rows) == repr(first.rows)
    assert seen == []
    assert "3 of 3 candidates were measured before" in caplog.text
    assert "failed" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_params": 0}, "`max_params` must be above 0, or None, got 0"),
        ({"max_flops": -1.0}, "`max_flops` must be above 0, or None, got -1.0"),
        ({"max_latency": float("nan")}, "`max_latency` must be above 0, or None, got nan"),
        ({"latency_batch": 0}, "`latency_batch` must be at least 1, got 0"),
        ({"latency_batch": 33}, "`latency_batch` must be at most the probe's 32, got 33"),
    ],
)
def test_arguments_are_checked(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ranked(**changes)
