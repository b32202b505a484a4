"""What a history tells, in plain sentences: `History.diagnose`.

Each rule takes a history and yields the sentences that apply. It says nothing where it has too few epochs,
or where a number is not finite.
"""

from itertools import pairwise
from math import isfinite, nan
from statistics import median

#: Epochs that make a trend.
TREND = 5
#: Validation is worse by so much than at its best, for at least so many epochs, while the loss still falls.
OVERFIT_RISE, OVERFIT_EPOCHS = 0.05, 2
#: Validation loss is so many times the loss, and apart by so much of the first loss.
GAP_RATIO, GAP_OF_FIRST = 1.5, 0.1
#: Validation loss is below the loss by so much.
BETTER_BY = 0.05
#: Still improving: so much less, each epoch. Hardly moved: so much less in all. Level: so much in a trend.
IMPROVING, STUCK, LEVEL = 0.01, 0.02, 0.01
#: Diverging: so many times the lowest loss, and above it by so much of the first. Swinging: its mean up and
#: down is so much of the loss, and so many times as much as it moves on the whole.
DIVERGED_RATIO, DIVERGED_OF_FIRST = 1.2, 0.1
SWING, SWING_AGAINST_TREND = 0.05, 3.0
#: Gradient of a layer against that of the last. Five sigmoids, whose slopes are at most 1/4, make it less
#: than 1e-3 (the notes, S7.2); the same upwards.
VANISHED, EXPLODED = 1e-3, 1e3
#: A layer's gradient against that of its first epoch; one that begins to arrive grows too, so it has to be
#: long besides: gradients are usually clipped at 1 to 10.
GROWN, LONG = 100.0, 10.0
#: `||dw|| / ||w||` of an update: "should be somewhere around 1e-3" (Karpathy, CS231n, Neural networks part
#: 3); ten times as much or a tenth is far from it.
UPDATE_LOW, UPDATE_USUAL, UPDATE_HIGH = 1e-4, 1e-3, 1e-2
#: Share of a layer's units that is worth a word. CS231n (part 1) has seen 40 % dead with too high a rate.
DEAD, SATURATED = 0.1, 0.25


class Diagnosis(list):
    """Sentences; printed, one on each line."""

    def __str__(self):
        return "\n".join(f"- {sentence}" for sentence in self) or "Nothing stands out."

    __repr__ = __str__


def diagnose(history):
    """All sentences that apply to a history; see `History.diagnose`."""
    return Diagnosis(sentence for rule in RULES for sentence in rule(history))


def _curve(history, name, least):
    """The values of a curve, or none if there are fewer than `least` or one of them is not finite."""
    if name not in history or len(history) < least:
        return []
    return history[name] if all(map(isfinite, history[name])) else []


def _overfits(history):
    """`(position of the best validation loss, by how much it is worse now)`, or None."""
    loss, val = _curve(history, "loss", 3), _curve(history, "val_loss", 3)
    if not (loss and val):
        return None
    best = min(range(len(val)), key=val.__getitem__)
    rise = (val[-1] - val[best]) / (abs(val[best]) or 1.0)
    late = len(val) - 1 - best >= OVERFIT_EPOCHS
    return (best, rise) if late and rise > OVERFIT_RISE and loss[-1] < loss[best] else None


def overfitting(history):
    """Validation gets worse while training gets better."""
    found = _overfits(history)
    if found:
        best, rise = found
        loss, val, epoch = history["loss"], history["val_loss"], history.epochs[best]
        yield (
            f"Overfitting: val_loss was lowest in epoch {epoch} ({val[best]:.3g}) and is {val[-1]:.3g} now, "
            f"{rise:.0%} more, while loss fell from {loss[best]:.3g} to {loss[-1]:.3g}. Stop at epoch "
            f"{epoch} (EarlyStopping keeps its weights), or use more data, Dropout or weight_decay."
        )


def gap(history):
    """Validation is far from training, though not getting worse."""
    loss, val = _curve(history, "loss", 1), _curve(history, "val_loss", 1)
    if not (loss and val) or _overfits(history):
        return
    if val[-1] > GAP_RATIO * loss[-1] > 0 and val[-1] - loss[-1] > GAP_OF_FIRST * loss[0]:
        yield (
            f"Generalisation gap: val_loss is {val[-1]:.3g} and loss {loss[-1]:.3g}, "
            f"{val[-1] / loss[-1]:.1f} times less. The network fits its training data better than what it "
            "has not seen: more data, Dropout or weight_decay make the gap smaller."
        )


def validation_is_better(history):
    """Validation below training, which is no mistake."""
    loss, val = _curve(history, "loss", 3), _curve(history, "val_loss", 3)
    recent = list(zip(loss[-3:], val[-3:]))
    if recent and all(v < t - BETTER_BY * abs(t) for t, v in recent):
        yield (
            f"val_loss ({val[-1]:.3g}) is below loss ({loss[-1]:.3g}). loss is the mean over an epoch in "
            "which the network still changed, with Dropout and noise, if it has any, at work; val_loss is "
            "computed after it, without them. trainer.evaluate(x_train, y_train) gives the loss that can be "
            "compared."
        )


def still_improving(history):
    """The last epoch was the best one by far."""
    name = "val_loss" if "val_loss" in history else "loss"
    values = _curve(history, name, 3)[-TREND:]
    if not values or values[-1] > min(values) or values[0] == 0:
        return
    fall = (values[0] - values[-1]) / abs(values[0]) / (len(values) - 1)
    if fall > IMPROVING:
        yield (
            f"Still improving: {name} fell by {fall:.1%} an epoch over the last {len(values)} epochs, to "
            f"{values[-1]:.3g}. Train for more epochs."
        )


def _diverges(loss):
    low, scale = min(loss), abs(loss[0])
    return loss[-1] > DIVERGED_RATIO * low and loss[-1] - low > DIVERGED_OF_FIRST * scale


def _swings(loss):
    """`(mean change up or down, in the last epochs, mean loss)` if it goes up and down, or None."""
    last = loss[-TREND - 1 :]
    changes = [b - a for a, b in pairwise(last)]
    turns = sum(a * b < 0 for a, b in pairwise(changes))
    mean, swing = sum(last) / len(last), sum(map(abs, changes)) / len(changes)
    trend = abs(last[-1] - last[0]) / len(changes)
    moves = swing > SWING * abs(mean) and swing > SWING_AGAINST_TREND * trend
    return (swing, mean) if turns >= len(changes) - 2 and moves else None


def loss_rises(history):
    """The loss diverges, or goes up and down: the learning rate is too high."""
    loss = _curve(history, "loss", 2)
    swings = _swings(loss) if len(loss) > TREND else None
    rate = f" ({history['lr'][-1]:.3g})" if "lr" in history else ""
    if swings:
        yield (
            f"The loss goes up and down, by {swings[0]:.2g} an epoch round {swings[1]:.3g}, and gains "
            f"little. The learning rate{rate} is too high for this place: halve it, use a schedule or "
            "ReduceLROnPlateau, or larger batches."
        )
    elif loss and _diverges(loss):
        best = loss.index(min(loss))
        yield (
            f"The loss diverges: it was {loss[best]:.3g} in epoch {history.epochs[best]} and is "
            f"{loss[-1]:.3g} now. The learning rate{rate} is too high; try a tenth of it."
        )


def plateau(history):
    """The loss has hardly moved, or does not move any more."""
    loss = _curve(history, "loss", 3)
    if not loss or loss[0] == 0 or _diverges(loss) or (len(loss) > TREND and _swings(loss)):
        return
    rate = f" ({history['lr'][-1]:.3g})" if "lr" in history else ""
    if loss[0] - min(loss) < STUCK * abs(loss[0]):
        more = "" if history.layers else "; callbacks=[LayerMonitor()] shows what happens in the layers"
        yield (
            f"The loss has hardly moved: {loss[0]:.4g} in the first epoch, {loss[-1]:.4g} now. The learning "
            f"rate{rate} is too low (try ten times as much), or the gradient does not get through{more}."
        )
    elif len(loss) > TREND:
        last = loss[-TREND - 1 :]
        if max(last) - min(last) < LEVEL * abs(last[0]):
            yield (
                f"The loss has been level for {TREND} epochs, at {loss[-1]:.4g}. A lower learning "
                f"rate{rate}, as ReduceLROnPlateau gives, may bring it down once more; otherwise this "
                "network has learned what it can."
            )


def _last(history, quantity):
    """The last epoch's number of each layer that has one, in the order of the layers."""
    curves = history.layers.get(quantity, {})
    return {layer: curve[-1] for layer, curve in curves.items() if curve and isfinite(curve[-1])}


def _named(numbers, form, word):
    return ", ".join(f"{number:{form}} {word} {layer}" for layer, number in numbers.items())


def gradients(history):
    """Gradients that vanish or explode on their way from the last layer to the first."""
    norms = _last(history, "grad_norm")
    none = [layer for layer, norm in norms.items() if norm == 0]
    if none:
        yield (
            f"No gradient reaches {', '.join(none)}. Something behind it passes none on: dead units, a Step, "
            "a saturated activation, or a weight that is 0."
        )
    moving = {layer: norm for layer, norm in norms.items() if norm}
    if len(moving) > 1:
        last, size = next(reversed(moving.items()))
        low, high = (choose(moving, key=moving.__getitem__) for choose in (min, max))
        if moving[low] < VANISHED * size:
            yield (
                f"Vanishing gradients: on the way back the norm falls from {size:.2g} in {last} to "
                f"{moving[low]:.2g} in {low}. ReLU in place of sigmoid or tanh, BatchNorm, Residual, or an "
                "initialisation that fits the activation keep it up."
            )
        if moving[high] > EXPLODED * size:
            yield (
                f"Exploding gradients: on the way back the norm grows from {size:.2g} in {last} to "
                f"{moving[high]:.2g} in {high}. clip_global_norm of the optimizer, BatchNorm, or smaller "
                "first weights hold it back."
            )
    for layer, norm in moving.items():
        before = next((n for n in history.layers["grad_norm"][layer] if isfinite(n) and n > 0), nan)
        if norm > max(LONG, GROWN * before):
            yield (
                f"The gradient of {layer} has grown {norm / before:.0f} times, from {before:.2g} to "
                f"{norm:.2g}. Lower the learning rate, or set clip_global_norm of the optimizer."
            )


def updates(history):
    """Steps that are too large or too small for the weights they move."""
    ratios = _last(history, "update_ratio")
    large = {layer: ratio for layer, ratio in ratios.items() if ratio > UPDATE_HIGH}
    small = {layer: ratio for layer, ratio in ratios.items() if 0 < ratio < UPDATE_LOW}
    for found, what, mend in ((large, "large", "lower"), (small, "small", "higher")):
        if found:
            middle = median(found.values()) / UPDATE_USUAL
            yield (
                f"Updates are {what} for the weights, |dw|/|w| is {_named(found, '.1e', 'in')}; about "
                f"{UPDATE_USUAL:g} is usual, which a learning rate {max(middle, 1 / middle):.0f} times "
                f"{mend} would give."
            )


def idle_units(history):
    """Units that do not learn."""
    dead = {layer: share for layer, share in _last(history, "dead").items() if share > DEAD}
    if dead:
        yield (
            f"Dead units, 0 for every sample of the epoch: {_named(dead, '.0%', 'of')}. They do not come "
            "back by themselves: lower the learning rate, or use LeakyReLU or ELU, or He's initialisation "
            "with biases of 0."
        )
    flat = {layer: share for layer, share in _last(history, "saturated").items() if share > SATURATED}
    if flat:
        yield (
            f"Saturated units, with nearly no slope for nearly all samples: {_named(flat, '.0%', 'of')}. "
            "Scale the inputs, begin with smaller weights, put BatchNorm before the activation, or lower "
            "the learning rate."
        )


#: In the order in which they are told: what is wrong first.
RULES = (
    loss_rises, plateau, overfitting, gap, gradients, updates, idle_units, validation_is_better,
    still_improving,
)  # fmt: skip
