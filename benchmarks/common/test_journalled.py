"""Plans in processes: what is finished is not measured again, and failures are results."""

from dataclasses import dataclass

from benchmarks.common.journalled import Work, journalled
from prescreen import CandidateFailed, Reading


@dataclass(frozen=True)
class Plan:
    name: str


def measure(data, plan):
    if plan.name == "bad":
        raise CandidateFailed("diverged", "loss nan")
    if plan.name == "broken":
        raise RuntimeError("no such layer")
    return [Reading(step, {"value": data + step}, 1.5) for step in (1, 2)]


def test_plans_are_measured_once_in_processes(tmp_path, capsys):
    plans = [Plan("good"), Plan("bad"), Plan("broken")]
    work = Work(measure, int, ("40",))
    records = journalled(tmp_path, {}, plans, work)
    assert [records[p.name].status for p in plans] == ["finished", "diverged", "run"]
    assert records["broken"].reason == "RuntimeError: no such layer"
    assert records["good"].trajectory.last.values == {"value": 42}
    told = capsys.readouterr().out
    assert "good  2 readings, 2 s" in told
    assert "bad  diverged: loss nan" in told

    def never(waiting):
        assert waiting == []
        return []

    again = journalled(tmp_path, {}, plans, never)
    assert [again[p.name].status for p in plans] == ["finished", "diverged", "run"]
