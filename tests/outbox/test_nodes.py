"""Which node holds what, and what a node's answers mean; tests/cluster has the real thing."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from outbox.nodes import Address, Nodes, is_cluster, owners, seeds, url_of


def test_the_scheme_says_that_it_is_a_cluster() -> None:
    assert is_cluster("redis+cluster://a")
    assert is_cluster("rediss+cluster://:p@a:1,b:2")
    assert not is_cluster("redis://a:6379/0")


def test_nodes_are_separated_by_commas_and_the_rest_is_for_all_of_them() -> None:
    url = "rediss+cluster://me:p%40ss@one:7000,two,[::1]:7002/0?ssl_cert_reqs=none"
    assert seeds(url) == [Address("one", 7000), Address("two", 6379), Address("::1", 7002)]
    assert [url_of(url, seed) for seed in seeds(url)] == [
        "rediss://me:p%40ss@one:7000/0?ssl_cert_reqs=none",
        "rediss://me:p%40ss@two:6379/0?ssl_cert_reqs=none",
        "rediss://me:p%40ss@[::1]:7002/0?ssl_cert_reqs=none",
    ]


@pytest.mark.parametrize("nameless", [None, b"", b"?"])
def test_owners_are_the_masters(nameless: bytes | None) -> None:
    asked = Address("10.0.0.1", 7000)
    rows = [
        [0, 2, [b"10.0.0.2", 7001, b"id", []], [b"10.0.0.3", 7002, b"replica", []]],
        [5, 5, [nameless, 7000, b"id", []]],
    ]
    master = Address("10.0.0.2", 7001)
    assert owners(rows, asked) == {0: master, 1: master, 2: master, 5: asked}


@pytest.mark.parametrize(
    "answer", ["MOVED 5 10.0.0.9:1", "ASK 5 10.0.0.9:1", "CLUSTERDOWN x", "TRYAGAIN x", "READONLY x"]
)
async def test_what_another_node_or_moment_would_answer_is_an_outage(nodes: Nodes, answer: str) -> None:
    """A stream must not be taken for refused or gone because its node is."""
    with pytest.raises(RedisConnectionError, match=answer.split()[1]):
        async with nodes.at("k") as redis:
            await redis.eval(f"return redis.error_reply('{answer}')", 1, "k")


async def test_what_a_node_says_about_the_key_is_left_to_the_caller(nodes: Nodes) -> None:
    with pytest.raises(ResponseError, match="about the key"):
        async with nodes.at("k") as redis:
            await redis.eval("return redis.error_reply('WRONGTYPE about the key')", 1, "k")
