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
    fitted = calibration.fit([real, generated])
    assert fitted.accuracy_before == 0.5
    assert fitted.accuracy_after == pytest.approx(0.841, abs=0.02)  # Phi(1), the best there is
    assert -fitted.bias / fitted.scale == pytest.approx(30, abs=0.1)
    assert share_right(fitted, real, generated) == pytest.approx(fitted.accuracy_after, abs=0.01)


def test_p_means_what_it_says():
    """For N(1, 1) against N(-1, 1) the log odds are 2x."""
    fitted = calibration.fit([logits(1.0, 20000), logits(-1.0, 20000, seed=1)])
    assert fitted.scale == pytest.approx(2.0, rel=0.05)
    assert fitted.bias == pytest.approx(0.0, abs=0.05)


def test_a_discriminator_is_never_turned_round():
    fitted = calibration.fit([logits(-1.0), logits(1.0, seed=1)])
    assert fitted.scale > 0


def test_constant_logits_give_finite_numbers():
    fitted = calibration.fit([np.full(50, 3.0), np.full(50, 3.0)])
    assert np.isfinite([fitted.scale, fitted.bias]).all()
    assert fitted.scale * 3.0 + fitted.bias == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("value", [0.1, 1e6, -3.7])
def test_equal_logits_give_a_moderate_scale(value):
    """The standard deviation of many copies of 0.1 is not 0 but 1e-17."""
    fitted = calibration.fit([np.full(37, value), np.full(37, value)])
    assert 0 < fitted.scale <= 1


def test_logits_that_are_no_numbers_are_a_failed_run():
    fine, broken = np.zeros([2, 30]), np.stack([np.full(30, np.nan), np.zeros(30)])
    with pytest.raises(RunError, match="D answers with values that are not finite"):
        calibration.fit(broken)
    with pytest.raises(RunError, match="the guard answers with values that are not finite"):
        calibration.fit(fine, broken)


def test_a_guard_believes_all_but_a_few_real_images():
    d = np.zeros([2, 101])
    assert calibration.fit(d, np.tile(np.linspace(-10.0, 90.0, 101), [2, 1])).guard_bias == pytest.approx(8.0)
    assert calibration.fit(d, np.tile(np.linspace(1.0, 2.0, 101), [2, 1])).guard_bias == 0.0
    assert calibration.fit(d).guard_bias == 0.0


def test_what_a_guard_refuses_counts():
    """D believes everything; the guard knows half of the generated images, and no real one."""
    d = np.stack([np.full(100, 5.0), np.full(100, 5.0)]) + logits(0.0, 200).reshape(2, 100)
    guard = np.stack([np.full(100, 3.0), np.repeat([3.0, -3.0], 50)])
    alone, guarded = calibration.fit(d), calibration.fit(d, guard)
    assert (guarded.scale, guarded.bias, guarded.guard_bias) == (alone.scale, alone.bias, 0.0)
    assert alone.accuracy_before == guarded.accuracy_before == 0.5
    believed = alone.scale * d + alone.bias > 0
    right = (np.mean(believed[0]) + np.mean(~(believed[1] & (guard[1] > 0)))) / 2
    assert guarded.accuracy_after == pytest.approx(right, abs=0.05)
    assert guarded.accuracy_after > alone.accuracy_after + 0.1
