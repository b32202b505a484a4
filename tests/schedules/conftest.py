"""What the tests of schedules share."""

import pytest


@pytest.fixture
def torch_rates():
    """A function that runs one of PyTorch's schedulers and returns its rates, or what else it changes."""
    torch = pytest.importorskip("torch")

    def rates(name, lr, n, key="lr", **options):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.5)
        scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
        found = []
        for _ in range(n):
            found.append(float(optimizer.param_groups[0][key]))
            optimizer.step()
            scheduler.step()
        return found

    return rates
