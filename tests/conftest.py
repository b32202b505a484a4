"""What all tests share."""

import signal

import pytest


@pytest.fixture(autouse=True)
def ctrl_c_interrupts():
    """Python's own Ctrl-C, also where the tests were started in the background and it was switched off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
