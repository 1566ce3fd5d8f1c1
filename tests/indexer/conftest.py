"""An index to be damaged."""

from __future__ import annotations

import pytest

from tests.indexer.damage import Sample, make_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A small sealed index, made once by the real default encoder. Tests damage copies of it."""
    return make_sample(tmp_path_factory.mktemp("sample") / "index")
