"""What several of these tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache directory that the tests of this file share, so that an image is built once."""
    return tmp_path_factory.mktemp("home")
