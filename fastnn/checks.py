"""Checks of arguments that are numbers or names; `where` is the class or function that they are for."""

import math
from numbers import Integral


def number(where, name, value, interval="[0, inf)", hint=""):
    """`value` as a float inside the interval, or an error that names `where` and the argument."""
    try:
        result = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        result = math.nan
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = result > low or (interval[0] == "[" and result == low)
    below = result < high or (interval[-1] == "]" and result == high)
    if not (above and below):  # NaN fails too
        raise ValueError(f"{where}: {name}: expected a number in {interval}{hint}. Received: {value!r}")
    return result


def integer(where, name, value):
    """`value` as an int of at least 1, or an error."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{where}: {name}: expected an integer of at least 1. Received: {value!r}")
    return int(value)


def choice(where, name, value, choices):
    """`value`, which must be one of the strings `choices`."""
    if value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{where}: {name}: expected {', '.join(others)} or {last}. Received: {value!r}")
    return value
