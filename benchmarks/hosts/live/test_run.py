"""The table compares studies of one script and seed."""

from benchmarks.hosts.live import run


def row(name, cpu, best):
    return {
        "run": name,
        "cpu": cpu,
        "seconds": 2 * cpu,
        "best": best,
        "completed": 5,
        "reading": 0.5,
    }


def test_studies_are_compared_with_the_unpruned_one_of_their_seed():
    rows = [
        row("mlp unpruned 0", 10.0, 90.0),
        row("mlp readouts 0", 5.0, 89.0),
        row("mlp unpruned 1", 20.0, 80.0),
        row("mlp readouts 1", 14.0, 81.0),
        row("momentum unpruned 0", 1.0, 50.0),
        row("momentum readouts 1", 1.0, 50.0),  # its unpruned study is not there yet
    ]
    lines = {tuple(line[:2]): line[2:] for line in run.table(rows)}
    assert lines["mlp", "unpruned"] == ["2", "15.0", "100", "0.00", "0.00", "5", "1.7"]
    assert lines["mlp", "readouts"] == ["2", "9.5", "60", "0.50", "1.00", "5", "2.6"]
    assert lines["momentum", "readouts"] == []
    assert lines["all", "unpruned"][0] == "3"


def test_every_script_has_its_three_ways():
    from benchmarks.hosts.live import in_optuna, in_ray

    assert tuple(in_optuna.PRUNERS) == tuple(in_ray.SCHEDULERS) == run.WAYS
    for module, function, epochs in run.SCRIPTS.values():
        assert callable(getattr({"in_optuna": in_optuna, "in_ray": in_ray}[module], function))
        assert epochs >= 1
