"""How results read: numbers with their 95 % intervals, verdicts, sentences; what is missing is "-"."""

import statistics

from benchmarks.zoo import results


def estimate(values, form, factor=1):
    """Formats [value, low, high], or None; low and high may be None."""
    if not values or values[0] is None:
        return "-"
    value, *ends = (number if number is None else form.format(factor * number) for number in values)
    return value if None in ends else f"{value} [{', '.join(ends)}]"


def kid(measured):
    """Formats the KID of what was measured, times 1000."""
    return estimate(measured and measured["training"]["kid"], "{:.1f}", 1000)


def bare_kid(value):
    """Formats a KID that has no interval, times 1000."""
    return estimate([value, None, None], "{:.1f}", 1000)


def frechet(measured):
    return estimate(measured and measured["training"]["frechet_distance"], "{:.2f}")


def rate(speeds):
    """Formats the images per second of several measurements of speed."""
    return f"{statistics.median(value['images_per_second'] for value in speeds):,.0f}" if speeds else "-"


def right(fitted):
    """Formats what a `calibration.Calibration` brings: images, and the share that D is right on before and after."""
    return [str(fitted["images"]), *(f"{fitted[f'accuracy_{when}']:.1%}" for when in ("before", "after"))]


def kid_spread(measured):
    """Formats mean and deviation of the KIDs of several measurements."""
    kids = [1000 * results.kid_of(value) for value in measured]
    return f"{statistics.mean(kids):.1f} ± {statistics.stdev(kids):.1f}"


def rating(values):
    return estimate(values, "{:.0f}")


def least_variety(measured):
    """Says how much some generators' images differ at least, from others and from the one most like it.

    Where one of the two is under `sample_quality.COLLAPSED`, one of the generators has collapsed.
    """
    variety = min(value["training"]["variety"][0] for value in measured)
    return f"{variety:.2f} / {min(value['distinctness'] for value in measured):.2f}"


def verdict(check):
    if not check:
        return "-"
    copies = ", copies?" if "generator: memorisation" in check["warned"] else ""
    return (f"refused: {', '.join(check['failed'])}" if check["failed"] else "passes") + copies


def share(duel):
    return estimate(duel["share"], "{:.1f} %", 100)


def goal(value):
    preset, target = value["presets"]
    wanted = f"the KID that {target} has after {value['target_minutes']}"
    if value["minutes"] is None:
        return f"After {value['kids'][-1][0]} minutes, {preset} has not reached {wanted}."
    return f"After {value['minutes']} minutes, {preset} has reached {wanted}."


_SUMMARIES = {
    "speed": lambda value: f"{value['images_per_second']:,.0f} images/s",
    "reference": lambda value: f"KID x 1000: {kid(value)}",
    "measure": lambda value: f"KID x 1000: {kid(value)}",
    "check": verdict,
    "duel": lambda value: f"won {share(value)}",
    "goal": goal,
}


def summary(kind, value):
    """Returns what is said when a job is done; "" for a kind that has no one number."""
    return _SUMMARIES[kind](value) if kind in _SUMMARIES else ""
