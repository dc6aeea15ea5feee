import numpy as np
import pytest

from gan import calibration
from gan.errors import RunError


def logits(mean, count=1000, seed=0):
    return np.random.default_rng(seed).normal(mean, 1.0, count)


def share_right(fitted, real, generated):
    p = [1 / (1 + np.exp(-(fitted.scale * values + fitted.bias))) for values in (real, generated)]
    return (np.mean(p[0] > 0.5) + np.mean(p[1] < 0.5)) / 2


def test_a_critic_far_from_zero_gets_its_threshold():
    """Logits N(31, 1) and N(29, 1): whoever answers by their sign is right about the real images alone."""
    real, generated = logits(31.0), logits(29.0, seed=1)
    fitted = calibration.fit(real, generated)
    assert fitted.accuracy_before == 0.5
    assert fitted.accuracy_after == pytest.approx(0.841, abs=0.02)  # Phi(1), the best there is
    assert -fitted.bias / fitted.scale == pytest.approx(30, abs=0.1)
    assert share_right(fitted, real, generated) == pytest.approx(fitted.accuracy_after, abs=0.01)


def test_p_means_what_it_says():
    """For N(1, 1) against N(-1, 1) the log odds are 2x."""
    fitted = calibration.fit(logits(1.0, 20000), logits(-1.0, 20000, seed=1))
    assert fitted.scale == pytest.approx(2.0, rel=0.05)
    assert fitted.bias == pytest.approx(0.0, abs=0.05)


def test_a_discriminator_is_never_turned_round():
    fitted = calibration.fit(logits(-1.0), logits(1.0, seed=1))
    assert fitted.scale > 0


def test_constant_logits_give_finite_numbers():
    fitted = calibration.fit(np.full(50, 3.0), np.full(50, 3.0))
    assert np.isfinite([fitted.scale, fitted.bias]).all()
    assert fitted.scale * 3.0 + fitted.bias == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("value", [0.1, 1e6, -3.7])
def test_equal_logits_give_a_moderate_scale(value):
    """The standard deviation of many copies of 0.1 is not 0 but 1e-17."""
    fitted = calibration.fit(np.full(37, value), np.full(37, value))
    assert 0 < fitted.scale <= 1


def test_logits_that_are_no_numbers_are_a_failed_run():
    with pytest.raises(RunError, match="not finite"):
        calibration.fit(np.full(30, np.nan), np.zeros(30))
