"""The other tails: their densities are densities, and each is chosen where it is the truth."""

import mpmath
import numpy as np
import pytest

import steelyard as sy
from steelyard.metrics import _alternatives as others
from steelyard.metrics import chosen, compute
from steelyard.metrics._tail import fit

pytestmark = pytest.mark.no_keras


@pytest.mark.parametrize("rate", [1e-8, 1e-3, 0.3, 5.0, 100.0])
@pytest.mark.parametrize("a", [-8.0, -0.5, 0.9, 1.0, 1.5, 3.0, 12.0])
def test_the_integral_of_the_truncated_power_law(a, rate):
    with mpmath.workdps(30):
        # rate^(a-1)·Γ(1-a, rate)·e^rate
        wanted = mpmath.log(mpmath.expint(a, rate)) + rate
    assert others.log_tail_integral(a, rate) == pytest.approx(float(wanted), abs=1e-8, rel=1e-9)


def from_law(law, size=3000, seed=0):
    rng = np.random.default_rng(seed)
    if law == "power law":
        return rng.random(size) ** (-1 / 1.5)
    if law == "exponential":
        return 1 + rng.exponential(2.0, size)
    if law == "log-normal":
        drawn = np.exp(rng.normal(1.0, 0.8, 4 * size))
        return drawn[drawn > 1][:size]
    drawn = rng.random(40 * size) ** (-1 / 1.0)
    return drawn[rng.random(len(drawn)) < np.exp(-0.3 * (drawn - 1))][:size]


def tail(law):
    """A tail that begins at 1, whatever a fit would find."""
    from steelyard.metrics._tail import PowerLaw

    x = np.sort(from_law(law))
    alpha = 1 + len(x) / np.sum(np.log(x))
    return PowerLaw(alpha, 1.0, 0.0, (alpha - 1) / np.sqrt(len(x)), x, len(x))


LAWS = ("power law", *others.MODELS)


@pytest.mark.parametrize("law", LAWS)
def test_the_truth_is_never_worse(law):
    found = tail(law)
    for name in others.MODELS:
        ratio, p = others.against(found, name)
        assert 0 <= p <= 1
        if name == law:
            assert ratio < 0
            assert p < 0.01
        if law == "power law" and name != "truncated power law":
            assert ratio > -1


@pytest.mark.parametrize(
    ("law", "wanted"),
    [
        ("exponential", (0.5,)),
        ("log-normal", (1.0, 0.8)),
        ("truncated power law", (2.0, 0.3)),
    ],
)
def test_parameters_are_recovered(law, wanted):
    values, settled = others.parameters(tail(law), law)
    assert settled
    assert values == pytest.approx(wanted, rel=0.15)


@pytest.mark.parametrize("law", others.MODELS)
def test_parameters_are_in_the_units_of_the_values(law):
    x = np.sort(from_law(law))
    one, other = fit(x), fit(x * 100)
    a, b = others.parameters(one, law)[0], others.parameters(other, law)[0]
    if law == "log-normal":
        assert b == pytest.approx((a[0] + np.log(100), a[1]), rel=1e-3)
    else:
        assert b[-1] == pytest.approx(a[-1] / 100, rel=1e-2)
    assert others.against(other, law) == pytest.approx(others.against(one, law), rel=1e-3, abs=1e-6)


def test_the_choice_by_name():
    power = np.diag(np.sqrt(np.sort(from_law("power law", size=400))))
    ((_, answer),) = compute(power, chosen("tail_model"))
    assert answer.value == "power law"
    assert answer.status == "ok"
    noise = np.random.default_rng(0).uniform(-1, 1, size=(784, 512)).astype("float32")
    ((_, answer),) = compute(noise, chosen("tail_model"))
    assert answer.value != "power law"
    assert answer.status == "weak"


def test_ratios_that_decide_nothing_are_weak():
    w = np.diag(np.sqrt(np.sort(from_law("power law", size=30))))
    answers = {r.name: a for r, a in compute(w, chosen(["ratio_lognormal", "ratio_truncated"]))}
    assert answers["ratio_truncated"].value <= 0
    assert answers["ratio_lognormal"].status == "weak"
    assert sy.metrics.ratio_lognormal(w) == answers["ratio_lognormal"].value
