"""Three nodes for the tests of this folder, however the others are run; each lane's stream is on another node."""

import secrets
from collections.abc import Iterator

import pytest

from outbox.settings import Settings
from outbox.streams import LANES
from tests.three_nodes import NODES, Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def redis_url(cluster: Cluster) -> str:
    return cluster.url


@pytest.fixture
def spread(settings: Settings, cluster: Cluster) -> Settings:
    """The test's settings with a prefix that puts the in-app lanes on three nodes."""
    while True:
        chosen = settings.model_copy(update={"redis_prefix": f"t{secrets.token_hex(4)}:"})
        streams = [chosen.keys.stream("inapp", lane) for lane in LANES]
        if len({cluster.holder(stream).port for stream in streams}) == NODES:
            return chosen
