import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from prescreen.pruning.agreement import agreement


@pytest.mark.parametrize("n", [5, 7, 30])
def test_agreement_is_spearman_less_a_standard_error(n):
    rng = np.random.default_rng(n)
    a = rng.normal(size=n)
    b = a + rng.normal(size=n)
    rho = spearmanr(a, b).statistic
    expected = math.tanh(math.atanh(rho) - 1 / math.sqrt(n - 3))
    assert agreement(a, b) == pytest.approx(expected)
    assert agreement(a, b) < rho


def test_agreement_of_few_or_equal_scores_is_none():
    rising = np.arange(5.0)
    assert agreement(rising[:3], rising[:3]) == -1
    assert agreement(rising, np.ones(5)) == -1
    assert agreement(np.empty(0), np.empty(0)) == -1
    assert agreement(rising, -rising) < -0.9
    assert agreement(rising, rising) > 0.9
