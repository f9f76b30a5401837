"""Hostile inputs end in a right result or in one clear line.

``python -m pytest tests/hostile -m hostile`` runs the campaign, and one case of it with
``-k journal-017``.
"""

import pytest
from campaign import KINDS, Campaign
from kinds import FAULT

# A few of every kind, in the default suite; workers are tested there anyhow, and start slowly.
SAMPLE = {name: range(0, 21, 7) for name in KINDS if name != "worker"}
ALL = {name: range(kind.cases) for name, kind in KINDS.items()}


def cases(seeds):
    return [
        pytest.param(name, seed, id=f"{name}-{seed:03d}") for name in seeds for seed in seeds[name]
    ]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return Campaign(tmp_path_factory.mktemp("hostile"))


def require_clean(campaign, name, seed):
    outcome = campaign.run(name, seed)
    if outcome.verdict == FAULT:
        pytest.fail(f"{name}-{seed:03d}, {outcome.change}: {outcome.detail}", pytrace=False)


@pytest.mark.parametrize(("name", "seed"), cases(SAMPLE))
def test_a_sample(campaign, name, seed):
    require_clean(campaign, name, seed)


@pytest.mark.hostile
@pytest.mark.parametrize(("name", "seed"), cases(ALL))
def test_the_campaign(campaign, name, seed):
    require_clean(campaign, name, seed)
