"""What Redis answers to an append: what is said of the stream is a result, what is said of the node is an outage."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, ResponseError

from outbox.nodes import Nodes
from outbox.settings import Settings
from relay import streams
from relay.entries import ZERO, Page, StreamId
from relay.streams import Appended, Refused, Streams, state_of

PAGES = [Page(StreamId(1, 1), 1, 0, "1-", b"1 {}\n"), Page(StreamId(1, 2), 1, 0, "", b"1-2 {}\n")]


async def append(nodes: Nodes, settings: Settings) -> list[streams.Result]:
    return await Streams(nodes).append(settings.keys.stream("inapp"), PAGES, ZERO)


@pytest.mark.parametrize(
    "answer", ["READONLY x", "CLUSTERDOWN x", "MOVED 1 10.0.0.9:1", "TRYAGAIN x", "LOADING x"]
)
async def test_a_node_that_is_the_wrong_one_refuses_nothing(
    nodes: Nodes, settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """The stream must not be left behind for it: the relay tries again. And no answer is left in a connection."""
    with monkeypatch.context() as patch:
        patch.setattr(streams, "SCRIPT", f"return redis.error_reply('{answer}')")
        with pytest.raises(RedisConnectionError):
            await append(nodes, settings)
    there = Nodes(settings.redis)  # MOVED is believed: the next call would go to a node that is not there
    assert all(isinstance(result, Appended) for result in await append(there, settings))
    await there.aclose()


def test_a_stream_on_another_node_is_not_taken_for_an_unusable_one() -> None:
    with pytest.raises(MovedError):
        state_of(MovedError("1 10.0.0.9:1"))
    assert not state_of(ResponseError("WRONGTYPE x")).usable


@pytest.mark.parametrize("answer", ["OOM x", "MISCONF x", "WRONGTYPE x", "NOPERM x"])
async def test_what_is_said_of_a_stream_leaves_it_behind(
    nodes: Nodes, settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(streams, "SCRIPT", f"return redis.error_reply('{answer}')")
    results = await append(nodes, settings)
    assert [type(result) for result in results] == [Refused, Refused]
