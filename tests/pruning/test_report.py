import pytest

from prescreen.panel import Panel
from prescreen.pruning import Guard, Population, contradiction, report

PANEL = Panel(("head", "network"), (True, True), (False, True))
STEPS = (1, 2, 3, 5, 8, 13, 21)


def population(objective, trials=8, sign=1):
    made = Population(PANEL)
    for number in range(trials):
        for step in STEPS:
            turned = sign if step == 1 else 1
            made.read(number, step, {"head": float(turned * number), "network": 0.0}, "one")
        made.complete(number, objective(number))
    return made


def test_a_report_shows_few_steps_and_always_the_first_and_the_last():
    lines = report(population(lambda number: (float(number),)), Guard(), 3).splitlines()
    assert lines[:2] == [
        "3 of 8 trials that were read were pruned.",
        "Readings against the objective of completed trials:",
    ]
    shown = [int(line.split(":")[0].removeprefix("  step ")) for line in lines[2:]]
    assert shown == [1, 3, 8, 21]
    assert "8 completed trials, ρ 1.00 (1.00 less a standard error); an end is" in lines[2]


def test_without_an_objective_the_last_readings_stand_for_it():
    lines = report(population(lambda number: ()), Guard(), 0).splitlines()
    assert lines[1] == (
        "Readings against the last readings of completed trials, as no objective is known:"
    )
    assert lines[-1].startswith("  step 8: ")  # those at the last step say all


@pytest.mark.parametrize(("trials", "belief"), [(3, "too few, 5 are needed"), (8, "contradict")])
def test_a_report_says_why_nothing_is_pruned(trials, belief):
    made = population(lambda number: (float(number),), trials, sign=-1)
    assert belief in report(made, Guard(), 0).splitlines()[2]
    line = contradiction(made, Guard(), 1)
    assert bool(line) is (belief == "contradict")
    assert "\n" not in line
    assert contradiction(made, Guard(), 21) == ""
    assert contradiction(Population(PANEL), Guard(), 1) == ""


def test_each_source_has_its_figures():
    made = Population(PANEL)
    for number in range(9):
        made.read(
            number, 4, {"head": float(number), "network": float(number * 5 % 9)}, f"a{number}"
        )
        made.complete(number, (float(number),))
    seen = made.outlook(4)
    line = report(made, Guard(), 0).splitlines()[-1]
    assert line.startswith("  step 4: 9 completed trials, ρ of the score 0.")
    assert " less a standard error), of head 1.00 (1.00); an end is" in line
    slopes = " and ".join(f"{slope:.2f}" for slope in seen.slopes.values())
    assert line.endswith(f" expected to follow {slopes} of them")
