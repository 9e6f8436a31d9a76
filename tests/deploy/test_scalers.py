"""What KEDA asks Redis for: the streams that workers read, and a number that says what waits."""

import re
from typing import Any

import pytest
from redis.asyncio import Redis

from outbox.settings import Settings
from outbox.streams import GROUP, LANES, Keys
from tests.deploy.manifests import Manifest, container, of_kind


def scaled(made: list[Manifest]) -> dict[str, Manifest]:
    return {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in of_kind(made, "ScaledObject")}


def streams(scaler: Manifest) -> set[str]:
    return {trigger["metadata"]["stream"] for trigger in scaler["triggers"]}


def test_the_streams_are_those_that_the_workers_read(production: list[Manifest]) -> None:
    deployments = {each["metadata"]["name"]: each for each in of_kind(production, "Deployment")}
    assert scaled(production)
    for name, scaler in scaled(production).items():
        _, *channels = container(deployments[name]["spec"]["template"])["args"]
        assert streams(scaler) == {Keys().stream(channel, lane) for channel in channels for lane in LANES}


def test_a_channel_of_several_shards_has_more_of_them(cluster: list[Manifest]) -> None:
    keys = Keys("shop:")
    first = {keys.stream("email", lane) for lane in LANES}
    assert streams(scaled(cluster)["outbox-worker-email"]) == {
        stream + suffix for stream in first for suffix in ("", ".1", ".2", ".3")
    }


def test_all_streams_count_together(production: list[Manifest]) -> None:
    for scaler in scaled(production).values():
        names = [trigger["name"] for trigger in scaler["triggers"]]
        assert re.findall(r"\w+", scaler["advanced"]["scalingModifiers"]["formula"]) == names
        assert scaler["minReplicaCount"] >= 1


def test_as_many_as_there_may_be_are_reached_before_a_stream_is_full(made: list[Manifest]) -> None:
    """Beyond its greatest length Postgres holds the backlog, which no scaler sees."""
    for scaler in scaled(made).values():
        most = scaler["maxReplicaCount"] * int(scaler["advanced"]["scalingModifiers"]["target"])
        assert most <= Settings.model_fields["stream_max_length"].default


def test_the_length_is_asked_for_and_not_the_group(made: list[Manifest]) -> None:
    for scaler in scaled(made).values():
        for trigger in scaler["triggers"]:
            assert "streamLength" in trigger["metadata"]
            assert not trigger["metadata"].keys() & {"consumerGroup", "lagCount", "pendingEntriesCount"}


def test_a_cluster_is_asked_as_one(cluster: list[Manifest]) -> None:
    for scaler in scaled(cluster).values():
        for trigger in scaler["triggers"]:
            assert trigger["type"] == "redis-cluster-streams"
            assert trigger["metadata"]["addresses"] == "a:6379,b:6379"
            assert trigger["metadata"]["enableTLS"] == "true"
            assert "databaseIndex" not in trigger["metadata"]


@pytest.fixture
async def half_done(redis: "Redis") -> str:
    """A stream of ten: two settled, three in a worker's hands, five that nobody has read."""
    stream = Keys().stream("email")
    await redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
    for number in range(1, 11):
        await redis.xadd(stream, {"envelope": "{}"}, id=f"1-{number}")
    await redis.xreadgroup(GROUP, "worker", {stream: ">"}, count=5)
    await redis.xack(stream, GROUP, "1-1", "1-2")
    await redis.xdel(stream, "1-1", "1-2")
    return stream


async def lag(redis: "Redis", stream: str) -> Any:
    (group,) = await redis.xinfo_groups(stream)
    return group["lag"]


async def test_the_length_is_what_waits_and_what_is_in_hand(redis: "Redis", half_done: str) -> None:
    assert await redis.xlen(half_done) == 8
    assert await lag(redis, half_done) == 5


async def test_the_lag_is_unknown_once_an_unread_entry_was_deleted(redis: "Redis", half_done: str) -> None:
    """As the erasure of a person does. Why the lag is not what workers are scaled by."""
    await redis.xdel(half_done, "1-8")
    assert await redis.xlen(half_done) == 7
    assert await lag(redis, half_done) is None
