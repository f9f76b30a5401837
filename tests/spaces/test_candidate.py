"""Candidates and search spaces: names, files, sampling, and the way to worker processes."""

import functools
import importlib
import json
import math
import multiprocessing
import pickle
import random
import statistics
import types

import pytest
from torch import nn

from prescreen.spaces.candidate import Candidate, sample_candidates
from prescreen.spaces.chosen import as_candidates
from prescreen.spaces.random_trial import RandomTrial
from prescreen.spaces.space import Space, resolve_space, space_names

# 3 × 2 + 1 = 7 configs: "bias" is suggested only if "hidden" is above 0.
DEFINE_BY_RUN = '''
"""Small perceptrons."""
from torch import nn

class Net(nn.Sequential):
    pass

def sample(trial):
    config = {"hidden": trial.suggest_int("hidden", 0, 3)}
    if config["hidden"]:
        config["bias"] = trial.suggest_categorical("bias", [True, False])
    return config

def build(config, *, num_classes, in_channels=1):
    return Net(nn.Flatten(), nn.Linear(in_channels * 4, num_classes, bias=config.get("bias", True)))
'''


@pytest.fixture
def write_space(tmp_path):
    def write(text=DEFINE_BY_RUN, name="space.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def in_memory(**functions):
    module = types.ModuleType("toy")
    module.build = lambda config: nn.Identity()
    for name, function in functions.items():
        setattr(module, name, function)
    return Space("toy", module)


def linear(*, num_classes=2, in_channels=3):
    return nn.Linear(in_channels, num_classes)


# --- Candidate


def test_build_gets_the_keywords_that_it_accepts():
    def everything(**sizes):
        return nn.Linear(sizes["in_channels"], sizes["image_size"][0])

    sizes = {"num_classes": 5, "in_channels": 4, "image_size": (6, 7)}
    built = {
        "some": Candidate("some", {}, linear).model(**sizes),
        "none": Candidate("none", {}, nn.Identity).model(**sizes),
        "all": Candidate("all", {}, everything).model(**sizes),
        "bound": Candidate("bound", {}, functools.partial(linear, num_classes=9)).model(**sizes),
    }
    assert (built["some"].in_features, built["some"].out_features) == (4, 5)
    assert type(built["none"]) is nn.Identity
    assert built["all"].out_features == 6
    assert built["bound"].out_features == 5
    assert Candidate("default", {}, linear).model().out_features == 2


def test_every_call_builds_a_new_network():
    candidate = Candidate("a", {}, linear)
    assert candidate.model() is not candidate.model()


@pytest.mark.parametrize(
    ("name", "config", "build", "message"),
    [
        ("", {}, linear, "`name` must be a non-empty string, got ''"),
        (3, {}, linear, "`name` must be a non-empty string, got 3"),
        ("a", [], linear, "`config` must be a dict with string keys, got "),
        ("a", {1: 2}, linear, "`config` must be a dict with string keys, got "),
        ("a", {"f": linear}, linear, "`config` must hold JSON values, got "),
        ("a", {"lr": math.nan}, linear, "`config` must hold JSON values, got "),
        ("a", {}, None, "`build` must be a function .*, got NoneType"),
        ("a", {}, nn.Linear(2, 2), "`build` must be a function .*, got Linear"),
    ],
)
def test_bad_candidates_are_refused(name, config, build, message):
    with pytest.raises(ValueError, match=message):
        Candidate(name, config, build)


def test_build_untrained_must_be_a_function():
    with pytest.raises(ValueError, match=r"^`build_untrained` must be a function .*, got Linear$"):
        Candidate("a", {}, linear, nn.Linear(2, 2))


def test_another_network_can_be_measured_untrained(write_space):
    wide = Candidate("a", {}, linear, lambda *, num_classes: nn.Linear(50, num_classes))
    assert wide.model(in_channels=4).in_features == 4
    assert wide.model(in_channels=4, num_classes=7, untrained=True).in_features == 50
    assert Candidate("a", {}, linear).model(in_channels=4, untrained=True).in_features == 4
    text = (
        "\ndef build_untrained(config, *, num_classes):\n    return Net(nn.Linear(50, num_classes))"
    )
    for candidate in sample_candidates(resolve_space(write_space(DEFINE_BY_RUN + text)), 3, 0):
        again = pickle.loads(pickle.dumps(candidate))
        assert again.model(num_classes=3, untrained=True)[0].in_features == 50
        assert again.model(num_classes=3)[1].in_features == 4


def test_what_is_built_must_be_a_module():
    with pytest.raises(ValueError, match=r"^`build` of a must return a torch.nn.Module, got dict$"):
        Candidate("a", {}, lambda: {"no": "module"}).model()


def test_key_is_canonical_json_of_name_and_config():
    one = Candidate("a", {"x": 1, "y": [1.5, None]}, linear)
    other = Candidate("a", {"y": [1.5, None], "x": 1}, nn.Identity)
    assert one.key == other.key == '{"config":{"x":1,"y":[1.5,null]},"name":"a"}'
    assert one == other
    assert hash(one) == hash(other)
    assert one.key != Candidate("b", one.config, linear).key
    assert one.key != Candidate("a", {"x": 2}, linear).key


# --- Finding a space


def test_built_in_space_by_name_module_and_dotted_name():
    module = importlib.import_module("prescreen.search_spaces.nas_bench_201")
    for reference in ("nas_bench_201", "prescreen.search_spaces.nas_bench_201", module):
        space = resolve_space(reference)
        assert space.module is module
        assert space.name == "nas_bench_201"
    assert resolve_space(space) is space


def test_names_of_built_in_spaces_come_with_a_line():
    names = space_names()
    assert {"nas_bench_201", "timm_models"} <= set(names)
    assert names["nas_bench_201"].startswith("NAS-Bench-201")
    assert all(line and "\n" not in line for line in names.values())


def test_space_from_a_file_is_imported_once_and_again_after_a_change(write_space):
    path = write_space()
    space = resolve_space(str(path))
    assert space.name == "space"
    assert resolve_space(path).module is space.module
    write_space(DEFINE_BY_RUN + "\nCHANGED = True\n")
    assert resolve_space(path).module.CHANGED
    assert sample_candidates(space, 3, 0)[0].model(num_classes=4)[1].out_features == 4


def test_relative_file_and_its_neighbours(write_space, monkeypatch):
    write_space("WIDTH = 7\n", "a_neighbour_of_space.py")
    path = write_space("from a_neighbour_of_space import WIDTH\n" + DEFINE_BY_RUN)
    monkeypatch.chdir(path.parent)
    space = resolve_space("space.py")
    assert space.reference == str(path.resolve())
    assert space.module.WIDTH == 7


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nas_bench_202", "a built-in one .*timm_models.*got 'nas_bench_202'; did you mean nas_b"),
        ("", "a built-in one .* or a FILE.py, got ''$"),
        ("no_such_package.space", "a built-in one .* or a FILE.py, got 'no_such_package.space'$"),
        (
            "prescreen.search_spaces.no_such",
            "a built-in one .*, got 'prescreen.search_spaces.no_such'",
        ),
        ("no_such.py", "a file that exists, got 'no_such.py'$"),
    ],
)
def test_unknown_space_is_refused(reference, message):
    with pytest.raises(ValueError, match=f"^`space` must be .*{message}"):
        resolve_space(reference)


def test_modules_that_are_not_spaces_are_refused():
    message = (
        r"^the space json must define sample\(trial\) and build\(config\), got no sample and no"
    )
    with pytest.raises(ValueError, match=message):
        resolve_space("json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n1 / 0\n", r"space.py, line 3: ZeroDivisionError: division by zero$"),
        ("def f():\n    return {}['x']\nf()\n", r"space.py, line 2: KeyError: 'x'$"),
        ("x = 1\nimport no_such_module\n", r"space.py, line 2: ModuleNotFoundError: No module"),
        ("import json\njson.loads('{')\n", r"space.py, line 2: JSONDecodeError: "),
        ("a = 1\ndef\n", r"space.py, line 2: SyntaxError: "),
        ("def sample(trial): ...\n", r"space.py must define .*, got no build$"),
    ],
)
def test_broken_file_is_named_with_its_line(write_space, text, message):
    path = write_space(text)
    with pytest.raises(ValueError, match=message) as error:
        resolve_space(path)
    assert "\n" not in str(error.value)


def test_broken_module_is_named_with_its_line(write_space, monkeypatch):
    path = write_space("import math\nmath.sqrt(-1)\n", "a_broken_space.py")
    monkeypatch.syspath_prepend(str(path.parent))
    with pytest.raises(ValueError, match=r"a_broken_space.py, line 2: ValueError: "):
        resolve_space("a_broken_space")


# --- Sampling


def test_smaller_samples_begin_larger_ones():
    space = resolve_space("nas_bench_201")
    large = sample_candidates(space, 300, seed=3)
    assert sample_candidates(space, 40, seed=3) == large[:40]
    assert sample_candidates(space, 40, seed=4) != large[:40]
    assert len({candidate.key for candidate in large}) == 300
    assert all(candidate.name == space.module.name(candidate.config) for candidate in large)


def test_sample_is_the_same_in_every_session():
    """Resuming a ranking depends on it. The values are those first drawn; there is no other oracle."""
    names = [c.name for c in sample_candidates(resolve_space("nas_bench_201"), 2, seed=0)]
    assert names == ["3x3|3x3,none|1x1,pool,3x3", "3x3|1x1,3x3|1x1,pool,skip"]


def test_whole_grid_comes_in_its_order():
    space = in_memory(
        sample=lambda trial: {"a": trial.suggest_categorical("a", [3, 1, 2])},
        grid=lambda: ({"a": a} for a in (3, 1, 2)),
    )
    for number in (None, 3, 100):
        assert [c.config["a"] for c in sample_candidates(space, number, 0)] == [3, 1, 2]
    assert len(sample_candidates(space, 2, 0)) == 2


def test_endless_grid_is_sampled():
    def endless():
        a = 0
        while True:
            yield {"a": a}
            a += 1

    space = in_memory(sample=lambda trial: {"a": trial.suggest_int("a", 0, 999)}, grid=endless)
    assert len(sample_candidates(space, 10, 0)) == 10


def test_exhausted_space_gives_what_it_has_with_a_warning(write_space):
    space = resolve_space(write_space())
    with pytest.warns(
        UserWarning, match="^`samples` must be .*, got 20: it gave 7 distinct configs"
    ):
        candidates = sample_candidates(space, 20, 0)
    expected = {(hidden, bias) for hidden in (1, 2, 3) for bias in (True, False)} | {(0, None)}
    assert {(c.config["hidden"], c.config.get("bias")) for c in candidates} == expected


def test_finite_space_without_a_grid_is_found_whole():
    """More than MAX_REPEATS draws repeat a config here, but never that many in a row."""
    space = in_memory(sample=lambda trial: {"a": trial.suggest_int("a", 1, 300)})
    found = sample_candidates(space, 300, 0)
    assert {candidate.config["a"] for candidate in found} == set(range(1, 301))


@pytest.mark.parametrize(
    ("number", "seed", "message"),
    [
        (0, 0, "`samples` must be at least 1, got 0"),
        (None, 0, r"`samples` must be a number, as toy has no grid\(\), got None"),
        (1, -1, "`seed` must be at least 0, got -1"),
        (1, 0.5, "`seed` must be an integer, got 0.5"),
        (1, True, "`seed` must be an integer, got True"),
        (1, 0, "`sample` of toy must return a dict, got NoneType"),
    ],
)
def test_bad_samples_are_refused(number, seed, message):
    with pytest.raises(ValueError, match=message):
        sample_candidates(in_memory(sample=lambda trial: None), number, seed)


def test_default_names_are_short_and_distinct():
    space = in_memory(
        sample=lambda trial: {
            "width": trial.suggest_int("width", 8, 64),
            "learning_rate_of_the_head": trial.suggest_float("lr", 1e-4, 1, log=True),
        }
    )
    candidates = sample_candidates(space, 50, 0)
    assert all(candidate.name.startswith("width=") for candidate in candidates)
    assert max(len(candidate.name) for candidate in candidates) <= 40


def test_equal_names_of_a_space_are_refused():
    space = in_memory(
        sample=lambda trial: {"a": trial.suggest_int("a", 0, 9)}, name=lambda config: "same"
    )
    with pytest.raises(ValueError, match=r"^`name` must be unique, got 'same' twice$"):
        sample_candidates(space, 2, 0)


# --- RandomTrial


def draws(suggest, number=4000):
    generator = random.Random(0)
    return [suggest(RandomTrial(generator)) for _ in range(number)]


def test_suggestions_cover_their_range_evenly():
    ints = draws(lambda t: t.suggest_int("n", 2, 9, step=3))
    assert {value: round(ints.count(value) / len(ints), 1) for value in set(ints)} == {
        2: 0.3,
        5: 0.3,
        8: 0.3,
    }
    floats = draws(lambda t: t.suggest_float("x", -1, 3))
    assert min(floats) >= -1
    assert max(floats) <= 3
    assert statistics.fmean(floats) == pytest.approx(1, abs=0.1)
    steps = draws(lambda t: t.suggest_float("x", 0, 0.3, step=0.1))
    assert sorted({round(value, 9) for value in steps}) == [0, 0.1, 0.2, 0.3]
    assert max(steps) <= 0.3


def test_log_suggestions_are_even_in_the_logarithm():
    floats = draws(lambda t: t.suggest_float("lr", 1e-4, 1, log=True))
    assert statistics.median(map(math.log10, floats)) == pytest.approx(-2, abs=0.15)
    assert min(floats) >= 1e-4
    assert max(floats) <= 1
    ints = draws(lambda t: t.suggest_int("n", 1, 64, log=True))
    assert (min(ints), max(ints)) == (1, 64)
    # Even in log(n ± ½): the share of n = 1 is log(1.5 / 0.5) / log(64.5 / 0.5).
    assert ints.count(1) / len(ints) == pytest.approx(math.log(3) / math.log(129), abs=0.02)


def test_values_and_types_are_optunas():
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def suggest(trial):
        return [
            trial.suggest_int("a", 1, 1),
            trial.suggest_int("b", 4, 4, log=True),
            trial.suggest_float("c", 2, 2),
            trial.suggest_float("d", 0.5, 0.7, step=0.5),
            trial.suggest_categorical("e", [None]),
            trial.suggest_categorical("f", (True,)),
            trial.suggest_int("g", 3, 4, step=2),
        ]

    with pytest.warns(UserWarning, match="not divisible"):
        theirs = suggest(study.ask())
    ours = suggest(RandomTrial(random.Random(0)))
    assert [(value, type(value)) for value in ours] == [(value, type(value)) for value in theirs]


def test_parameter_suggested_again_keeps_its_value():
    trial = RandomTrial(random.Random(0))
    assert len({trial.suggest_float("x", 0, 1) for _ in range(5)}) == 1
    assert list(trial.params) == ["x"]


@pytest.mark.parametrize(
    ("suggest", "message"),
    [
        (
            lambda t: t.suggest_categorical("x", []),
            "`choices` of 'x' must hold at least one, got none",
        ),
        (lambda t: t.suggest_int("x", 3, 2), "`low` of 'x' must be at most high, got 3 > 2"),
        (
            lambda t: t.suggest_float("x", math.nan, 2),
            "`low` of 'x' must be at most high, got nan > 2",
        ),
        (
            lambda t: t.suggest_float("x", 0, 1, log=True),
            "`low` of 'x' must be above 0 with log, got 0",
        ),
        (
            lambda t: t.suggest_int("x", 1, 9, step=2, log=True),
            "`step` of 'x' must be above 0 and without log, got 2",
        ),
        (lambda t: t.suggest_float("x", 1, 9, step=0), "`step` of 'x' must be above 0 .*, got 0"),
    ],
)
def test_bad_suggestions_are_refused(suggest, message):
    with pytest.raises(ValueError, match=message):
        suggest(RandomTrial(random.Random(0)))


# --- as_candidates


def test_mapping_list_and_space_become_candidates(write_space):
    given = as_candidates({"small": linear, "none": nn.Identity})
    assert [(candidate.name, candidate.config) for candidate in given] == [
        ("small", {}),
        ("none", {}),
    ]
    assert as_candidates(given) == given
    assert as_candidates(candidate for candidate in given) == given
    expected = sample_candidates(resolve_space(write_space()), 3, 5)
    for space in (write_space(), str(write_space()), resolve_space(write_space())):
        assert as_candidates(space, 3, seed=5) == expected
    assert len(as_candidates("timm_models")) >= 50


@pytest.mark.parametrize(
    ("candidates", "number", "message"),
    [
        ({}, None, "`candidates` must be a search space, .*, got none"),
        ([linear], None, "`candidates` must be a search space, .*, got function"),
        ({"a": linear}, 3, "`samples` must be None except for a search space, got 3"),
        ({"a": nn.Linear(1, 1)}, None, "`build` must be a function .*, got Linear"),
        ([Candidate("a", {}, linear)] * 2, None, "`name` must be unique, got 'a' twice"),
    ],
)
def test_bad_lists_are_refused(candidates, number, message):
    with pytest.raises(ValueError, match=message):
        as_candidates(candidates, number)


# --- Worker processes


def build_in_worker(candidate):
    model = candidate.model(num_classes=3, in_channels=2, image_size=(2, 2))
    return candidate.key, type(model).__module__, sum(p.numel() for p in model.parameters())


def test_candidates_of_a_users_file_reach_spawned_processes(write_space):
    candidates = sample_candidates(resolve_space(write_space()), 3, 0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(build_in_worker, candidates) == list(map(build_in_worker, candidates))


def test_pickled_candidates_carry_a_reference_and_no_code():
    candidate = sample_candidates(resolve_space("nas_bench_201"), 1, 0)[0]
    pickled = pickle.dumps(candidate)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again == candidate
    assert json.loads(again.key)["config"] == candidate.config
    assert type(again.model()) is type(candidate.model())
