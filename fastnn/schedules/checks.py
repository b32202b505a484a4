"""What a schedule checks before it is made: lengths, highest and lowest rates."""

import math
from numbers import Real

from ..checks import integer


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


def rates(where, low, high):
    """Raise unless `0 <= low <= high < inf`."""
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"{where}: expected 0 <= lr_min <= lr_max. Received: lr_min={low}, lr_max={high}")
