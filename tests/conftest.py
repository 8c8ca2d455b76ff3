"""Fixtures of all Python tests."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

import eider  # noqa: E402


@pytest.fixture
def server():
    """A fresh server without collectors, so that tables hold only what the test writes."""
    with eider.Server("--set", "collect.system=false") as running:
        yield running
