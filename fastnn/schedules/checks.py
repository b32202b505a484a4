"""What a schedule checks before it is made: numbers and lengths."""

import math
from numbers import Integral, Real


def number(where, name, value, interval="[0, inf)"):
    """`value` as a float inside the interval, or an error that names the schedule and the argument."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = result > low or (interval[0] == "[" and result == low)
    below = result < high or (interval[-1] == "]" and result == high)
    if not (above and below):  # NaN fails too
        raise ValueError(f"{where}: {name}: expected a number in {interval}. Received: {value!r}")
    return result


def integer(where, name, value):
    """`value` as an int of at least 1, or an error."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{where}: {name}: expected an integer of at least 1. Received: {value!r}")
    return int(value)


def updates(where, name, value, steps_per_epoch=1, least=1):
    """A length as an int number of updates: `value` updates, or epochs of `steps_per_epoch` updates."""
    unit = integer(where, "steps_per_epoch", steps_per_epoch)
    is_length = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    result = round(value * unit) if is_length else -1
    if result < least or abs(value * unit - result) > 1e-9 * result:
        unit_of = f" epochs of {unit} updates" if unit > 1 else ""
        raise ValueError(
            f"{where}: {name}: expected a whole number of updates, at least {least}. "
            f"Received: {value!r}{unit_of}"
        )
    return result
