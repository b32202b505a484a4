"""All optimizers on four surfaces of two parameters (the notes, S3.12): `python examples/optimizer_race.py`.

Prints how many steps each needs on a narrow valley until the loss is below 1e-3, beside the budget that it
has, and the losses after some steps on Rosenbrock's valley, a saddle and the surface of a sigmoid neuron.
Draws the paths, side by side and as a moving picture, and what the rates of the adaptive ones amount to.
"""

import numpy as np

import fastnn as nn
from fastnn import plots
from fastnn.theory import descend, surfaces

GOAL = 1e-3
#: Steps in which each comes below the goal on the valley.
BUDGET = {
    "SGD": 120, "Momentum": 80, "NAG": 50, "AdaGrad": 30, "RMSProp": 120, "AdaDelta": 250, "Adam": 60,
    "AdamW": 60, "AMSGrad": 60, "NAdam": 40, "AdaMax": 100, "MaxProp": 250, "LineSearch": 60,
    "ArmijoLineSearch": 40,
}  # fmt: skip
#: Surface, rate of the methods whose steps grow with the gradient, steps of the race.
RACES = (
    (surfaces.valley(), 0.04, 100),
    (surfaces.rosenbrock(), 5e-4, 1000),
    (surfaces.saddle(), 0.05, 60),
    (surfaces.sigmoid_neuron(), 1.0, 100),
)


def optimizers(rate):
    """All of them; the steps of the adaptive ones do not grow with the gradient, so one rate serves them."""
    return {
        "SGD": nn.SGD(lr=rate),
        "Momentum": nn.Momentum(lr=rate),
        "NAG": nn.NAG(lr=rate),
        "AdaGrad": nn.AdaGrad(lr=1.0),
        "RMSProp": nn.RMSProp(lr=0.05),
        "AdaDelta": nn.AdaDelta(lr=10.0),
        "Adam": nn.Adam(lr=0.2),
        "AdamW": nn.AdamW(lr=0.2),
        "AMSGrad": nn.AMSGrad(lr=0.2),
        "NAdam": nn.NAdam(lr=0.2),
        "AdaMax": nn.AdaMax(lr=0.2),
        "MaxProp": nn.MaxProp(lr=0.02),
        "LineSearch": nn.LineSearch(),
        "ArmijoLineSearch": nn.ArmijoLineSearch(),
    }


def steps_to_goal(optimizer, surface, steps):
    """Steps until the loss is below the goal for the first time, or None."""
    below = surface(descend(optimizer, surface, steps=steps)) < GOAL
    return int(np.argmax(below)) if below.any() else None


def losses():
    """For each optimizer its loss at the end of each race."""
    table: dict = {name: [] for name in BUDGET}
    for surface, rate, steps in RACES:
        for name, optimizer in optimizers(rate).items():
            table[name].append(float(surface(descend(optimizer, surface, steps=steps)[-1])))
    return table


def main():
    """Print the tables, draw the pictures."""
    valley, gentle, _ = RACES[0]
    print(f"{valley.name}, {valley.formula}, from {valley.start}: steps until the loss is below {GOAL:g}\n")
    print(f"{'':18s}{'steps':>8s}{'budget':>8s}")
    for name, optimizer in optimizers(gentle).items():
        print(f"{name:18s}{steps_to_goal(optimizer, valley, BUDGET[name]):8d}{BUDGET[name]:8d}")
    print("\nLoss after so many steps; that of the saddle falls for ever once it is left\n")
    print(" " * 18 + "".join(f"{f'{surface.name}, {steps}':>21s}" for surface, _, steps in RACES))
    for name, row in losses().items():
        print(f"{name:18s}" + "".join(f"{loss:21.2g}" for loss in row))
    print()
    for surface, rate, steps in RACES:
        file = f"race_{surface.name.replace(' ', '_').lower()}.png"
        plots.save(plots.optimizer_paths(optimizers(rate), surface, steps=steps, columns=5), file)
        print(f"Paths: {file}")
    adaptive = {name: optimizers(gentle)[name] for name in ("SGD", "AdaGrad", "RMSProp", "AdaDelta")}
    plots.save(plots.effective_rates(adaptive, valley, steps=60), "race_rates.png")
    print("What the learning rates amount to: race_rates.png")
    few = {name: optimizers(1.0)[name] for name in ("SGD", "Momentum", "NAG", "AdaGrad", "RMSProp", "Adam")}
    plots.animate_paths(few, surfaces.sigmoid_neuron(), "race.gif", steps=30, fps=6)
    print("The race on the sigmoid neuron's surface: race.gif")


if __name__ == "__main__":
    main()
