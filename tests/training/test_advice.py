"""history.diagnose(): each rule speaks up for a history that asks for it, and is silent for its sister."""

import pytest

import fastnn as nn
from fastnn.training import History, advice

NAN, INF = float("nan"), float("inf")


def history(layers=None, **curves):
    """A history of these curves; `layers` is quantity -> layer -> values."""
    made = History(curves)
    for i in range(len(next(iter(curves.values())))):
        made.append(i + 1, {name: curve[i] for name, curve in curves.items()})
        for quantity, by_layer in (layers or {}).items():
            for layer, values in by_layer.items():
                made.record(quantity, layer, values[i])
    return made


def says(rule, made):
    """What a rule says: at most one sentence."""
    sentences = list(rule(made))
    assert len(sentences) <= 1
    assert all(sentence in made.diagnose() for sentence in sentences)
    return "".join(sentences)


FALLING = [1.0, 0.7, 0.5, 0.4, 0.3]


@pytest.mark.parametrize(
    ("val", "sentence"),
    [
        ([0.9, 0.6, 0.55, 0.6, 0.7],
         "Overfitting: val_loss was lowest in epoch 3 (0.55) and is 0.7 now, 27% more, while loss fell "
         "from 0.5 to 0.3. Stop at epoch 3 (EarlyStopping keeps its weights), or use more data, Dropout "
         "or weight_decay."),
        ([0.9, 0.6, 0.55, 0.5, 0.7], ""),  # one epoch may be chance
        ([0.9, 0.6, 0.55, 0.56, 0.57], ""),  # 4 % more is little
        ([0.9, 0.6, NAN, 0.6, 0.7], ""),
    ],
)  # fmt: skip
def test_overfitting(val, sentence):
    assert says(advice.overfitting, history(loss=FALLING, val_loss=val)) == sentence


def test_worse_together_is_no_overfitting():
    val = [0.9, 0.6, 0.55, 0.6, 0.7]
    assert says(advice.overfitting, history(loss=[1, 0.7, 0.5, 0.6, 0.7], val_loss=val)) == ""
    assert says(advice.overfitting, history(loss=FALLING)) == ""


@pytest.mark.parametrize(
    ("val", "found"),
    [([0.9, 0.7, 0.65, 0.62, 0.61], True), ([0.9, 0.7, 0.5, 0.45, 0.44], False),
     ([0.9, 0.6, 0.55, 0.6, 0.7], False)],  # the last one overfits, which says more
)  # fmt: skip
def test_generalisation_gap(val, found):
    text = says(advice.gap, history(loss=FALLING, val_loss=val))
    assert text.startswith("Generalisation gap: val_loss is 0.61 and loss 0.3, 2.0 times less.") == found
    assert bool(text) == found


def test_a_gap_between_two_small_losses_is_none():
    assert says(advice.gap, history(loss=[1.0, 0.1, 0.001], val_loss=[1.0, 0.1, 0.004])) == ""


def test_validation_better_than_training():
    text = says(advice.validation_is_better, history(loss=FALLING, val_loss=[0.8, 0.5, 0.4, 0.3, 0.2]))
    assert text.startswith("val_loss (0.2) is below loss (0.3).") and "Dropout" in text
    # In one of the last three epochs it was not.
    made = history(loss=FALLING, val_loss=[0.8, 0.5, 0.4, 0.41, 0.2])
    assert says(advice.validation_is_better, made) == ""


@pytest.mark.parametrize(
    ("curves", "sentence"),
    [
        ({"loss": FALLING},
         "Still improving: loss fell by 17.5% an epoch over the last 5 epochs, to 0.3."),
        ({"loss": [9.0, *FALLING]},
         "Still improving: loss fell by 17.5% an epoch over the last 5 epochs, to 0.3."),
        ({"loss": FALLING, "val_loss": [0.9, 0.8, 0.75]},
         "Still improving: val_loss fell by 8.3% an epoch over the last 3 epochs, to 0.75."),
        ({"loss": FALLING, "val_loss": [0.9, 0.8, 0.75, 0.7, 0.71]}, ""),  # the last was not the best
        ({"loss": [1.0, 0.5, 0.4, 0.398, 0.396, 0.394, 0.392]}, ""),  # 0.5 % an epoch
        ({"loss": [1.0, 0.5]}, ""),
    ],
)  # fmt: skip
def test_still_improving(curves, sentence):
    shortest = min(map(len, curves.values()))
    made = history(**{name: curve[:shortest] for name, curve in curves.items()})
    text = says(advice.still_improving, made)
    assert text.startswith(sentence) and bool(text) == bool(sentence)


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        ([2.3, 2.5, 3.1],
         "The loss diverges: it was 2.3 in epoch 1 and is 3.1 now. The learning rate (0.5) is too high; "
         "try a tenth of it."),
        ([2.3, 0.5, 0.9, 1.4],
         "The loss diverges: it was 0.5 in epoch 2 and is 1.4 now. The learning rate (0.5) is too high; "
         "try a tenth of it."),
        ([1.0, 0.6, 0.9, 0.55, 0.9, 0.6, 0.9],
         "The loss goes up and down, by 0.32 an epoch round 0.742, and gains little. The learning rate "
         "(0.5) is too high for this place: halve it, use a schedule or ReduceLROnPlateau, or larger "
         "batches."),
        ([1.0, 0.6, 0.59, 0.605, 0.59, 0.603, 0.59], ""),  # up and down by 2 %
        ([1.0, 0.8, 0.82, 0.6, 0.62, 0.4, 0.42], ""),  # up and down, but on its way
        ([2.3, 0.001, 0.002], ""),  # twice as much of nothing
        (FALLING, ""),
        ([1.0, INF], ""),
    ],
)  # fmt: skip
def test_a_rate_too_high(loss, sentence):
    assert says(advice.loss_rises, history(loss=loss, lr=[0.5] * len(loss))) == sentence


def test_without_a_rate_none_is_named():
    assert "The learning rate is too high; try" in says(advice.loss_rises, history(loss=[1.0, 2.0]))


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        ([2.303, 2.302, 2.3],
         "The loss has hardly moved: 2.303 in the first epoch, 2.3 now. The learning rate (1e-06) is too "
         "low (try ten times as much), or the gradient does not get through; callbacks=[LayerMonitor()] "
         "shows what happens in the layers."),
        ([2.3, 1.0, 0.5, 0.501, 0.5, 0.499, 0.5, 0.5],
         "The loss has been level for 5 epochs, at 0.5. A lower learning rate (1e-06), as ReduceLROnPlateau "
         "gives, may bring it down once more; otherwise this network has learned what it can."),
        ([2.3, 1.0, 0.5, 0.52, 0.5, 0.48, 0.5, 0.5], ""),
        ([2.3, 2.2, 2.1], ""),
        ([2.3, 2.303], ""),  # too short to tell
        ([1.0, 1.0, 5.0], ""),  # diverges instead
    ],
)  # fmt: skip
def test_a_rate_too_low_and_a_plateau(loss, sentence):
    assert says(advice.plateau, history(loss=loss, lr=[1e-6] * len(loss))) == sentence


def test_with_a_monitor_none_is_recommended():
    norms = {"grad_norm": {"dense1": [1.0] * 3}}
    assert says(advice.plateau, history(norms, loss=[2.303, 2.302, 2.3])).endswith("does not get through.")


def by_layer(quantity, **values):
    """A history of two epochs in which each layer has the same number, or the pair given."""
    layers = {name: v if isinstance(v, list) else [v, v] for name, v in values.items()}
    return history({quantity: layers}, loss=[1.0, 0.9])


@pytest.mark.parametrize(
    ("norms", "start"),
    [
        ({"dense1": 1e-6, "dense2": 1e-3, "dense3": 0.5},
         "Vanishing gradients: on the way back the norm falls from 0.5 in dense3 to 1e-06 in dense1."),
        ({"dense1": 0.1, "dense2": 1e-4, "dense3": 0.5},
         "Vanishing gradients: on the way back the norm falls from 0.5 in dense3 to 0.0001 in dense2."),
        ({"dense1": 6e-4, "dense2": 0.5}, ""),
        ({"dense1": 900.0, "dense2": 20.0, "dense3": 0.5},
         "Exploding gradients: on the way back the norm grows from 0.5 in dense3 to 9e+02 in dense1."),
        ({"dense1": 400.0, "dense2": 0.5}, ""),
        ({"dense1": 0.0, "dense2": 0.0, "dense3": 0.5},
         "No gradient reaches dense1, dense2. Something behind"),
        ({"dense1": [0.1, 20.0], "dense2": 1.0},
         "The gradient of dense1 has grown 200 times, from 0.1 to 20."),
        ({"dense1": [0.3, 20.0], "dense2": 1.0}, ""),
        ({"dense1": [0.001, 2.0], "dense2": 1.0}, ""),  # it begins to arrive
        ({"dense1": NAN, "dense2": 1.0}, ""),
        ({"dense1": 1e-9}, ""),  # nothing to compare it with
    ],
)  # fmt: skip
def test_gradients(norms, start):
    text = says(advice.gradients, by_layer("grad_norm", **norms))
    assert text.startswith(start) and bool(text) == bool(start)


@pytest.mark.parametrize(
    ("ratios", "sentence"),
    [
        ({"conv1": 0.03, "dense1": 1e-3, "dense2": 0.05},
         "Updates are large for the weights, |dw|/|w| is 3.0e-02 in conv1, 5.0e-02 in dense2; about 0.001 is "
         "usual, which a learning rate 40 times lower would give."),
        ({"conv1": 2e-5, "dense1": 1e-3},
         "Updates are small for the weights, |dw|/|w| is 2.0e-05 in conv1; about 0.001 is usual, which a "
         "learning rate 50 times higher would give."),
        ({"conv1": 2e-4, "dense1": 9e-3}, ""),
        ({"conv1": 0.0, "dense1": 1e-3}, ""),  # of this the gradient tells
    ],
)  # fmt: skip
def test_update_ratios(ratios, sentence):
    assert says(advice.updates, by_layer("update_ratio", **ratios)) == sentence


@pytest.mark.parametrize(
    ("quantity", "shares", "start"),
    [
        ("dead", {"conv1": 0.05, "dense1": 0.28, "dense2": 1.0},
         "Dead units, 0 for every sample of the epoch: 28% of dense1, 100% of dense2. They do not come back"),
        ("dead", {"dense1": 0.1}, ""),
        ("dead", {"dense1": [0.5, 0.0]}, ""),  # it is the last epoch that counts
        ("saturated", {"dense1": 0.2, "dense2": 0.8},
         "Saturated units, with nearly no slope for nearly all samples: 80% of dense2. Scale the inputs"),
        ("saturated", {"dense1": 0.25}, ""),
    ],
)  # fmt: skip
def test_idle_units(quantity, shares, start):
    text = says(advice.idle_units, by_layer(quantity, **shares))
    assert text.startswith(start) and bool(text) == bool(start)


def test_it_is_a_list_that_reads_well():
    found = history(loss=[1.0, 0.7, 0.9, 1.3], val_loss=[1.0, 0.7, 0.9, 1.3]).diagnose()
    assert len(found) == 1 and isinstance(found[0], str)
    assert str(found) == repr(found) == f"- {found[0]}"
    nothing = history(loss=[1.0, 0.9]).diagnose()
    assert nothing == [] and str(nothing) == "Nothing stands out."
    assert History().diagnose() == []


def test_every_rule_is_asked_and_tested():
    rules = {
        value for name, value in vars(advice).items()
        if callable(value) and getattr(value, "__code__", None) and value.__code__.co_argcount == 1
        and name[0] != "_" and name != "diagnose" and value.__module__ == advice.__name__
    }  # fmt: skip
    assert rules == set(advice.RULES) and len(rules) == 9


def train(layers, lr, epochs, n=400):
    digits, _ = nn.datasets.fashion_mnist_sample()
    model = nn.Sequential([nn.Flatten(), *layers, nn.Dense(10)], input_shape=(28, 28, 1), seed=0)
    trainer = nn.Trainer(model, nn.SoftmaxCrossEntropy(), nn.SGD(lr=lr, momentum=0.9))
    x, y = digits[0][:n], digits[1][:n]
    return trainer.fit(
        x, y, epochs=epochs, batch_size=50, callbacks=[nn.LayerMonitor()], verbose=False
    ).diagnose()


def test_real_trainings():
    """A deep sigmoid network, one with a rate far too high, and a sound one."""
    deep = train([nn.Dense(32, "sigmoid") for _ in range(8)], 0.01, 3)
    assert any(s.startswith("Vanishing gradients") for s in deep)
    fast = train([nn.Dense(64, "relu"), nn.Dense(32, "relu")], 3.0, 3)
    assert any(s.startswith("Dead units") for s in fast)
    sound = train([nn.Dense(64, "relu")], 0.01, 3)
    assert [s[:15] for s in sound] == ["Still improving"]
