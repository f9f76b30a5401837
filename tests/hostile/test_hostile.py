"""Hostile inputs end in a right result or in one clear line.

Run the campaign with ``python -m pytest -m hostile``, and one case of it with ``-k journal-017``.
"""

import pytest
from campaign import KINDS, Campaign
from kinds import FAULT

# A few of every kind, in the default suite; a case in a worker process takes longer.
SAMPLE = dict.fromkeys(KINDS, 4) | {"worker": 1}


def cases(numbers):
    return [
        pytest.param(name, seed, id=f"{name}-{seed:03d}")
        for name in KINDS
        for seed in range(numbers(name))
    ]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    return Campaign(tmp_path_factory.mktemp("hostile"))


def require_clean(campaign, name, seed):
    outcome = campaign.run(name, seed)
    if outcome.verdict == FAULT:
        pytest.fail(f"{name}-{seed:03d}, {outcome.change}: {outcome.detail}", pytrace=False)


@pytest.mark.parametrize(("name", "seed"), cases(SAMPLE.get))
def test_a_sample(campaign, name, seed):
    require_clean(campaign, name, seed)


@pytest.mark.hostile
@pytest.mark.parametrize(("name", "seed"), cases(lambda name: KINDS[name].cases))
def test_the_campaign(campaign, name, seed):
    require_clean(campaign, name, seed)
