"""A page taken apart, for the tests of charts and report."""

import pytest
from pages import Page


@pytest.fixture(scope="session")
def parse():
    """Takes markup apart: `parse(markup)` is a `Page`."""
    return Page
