"""The JavaScript client: its own tests, its types, its bundle; and its life with a real gateway."""

from gateway.protocol import Close, Closing
from gateway.script import FILE
from tests.clients.node import run, talker, tool
from tests.gateway.harness import Gate, Inbox


def test_its_own_tests() -> None:
    done = run("--test", "test/protocol.test.js", "test/client.test.js", "test/roads.test.js")
    assert done.returncode == 0, done.stdout


def test_its_types_hold() -> None:
    done = run(tool("typescript"), "-p", ".", "--noEmit")
    assert done.returncode == 0, done.stdout


def test_the_bundle_is_of_these_sources() -> None:
    done = run("bundle.mjs", "--print")
    assert done.returncode == 0, done.stderr
    assert done.stdout == FILE.read_text(), "run: make client"


async def test_what_was_missed_then_live_then_marked(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("ada", 3)
    async with talker(f"http://{gate.address}", gate.token("ada"), cursor=1) as client:
        await client.has([3, 2], 3)
        await client.state("live")
        await inbox.deliver("ada")
        news = await client.until(lambda news: news["type"] == "item")
        assert (news["detail"]["seq"], news["unread"], news["cursor"]) == (4, 4, 4)
        await client.do("read", 4)
        await client.has([4, 3, 2], 3)
        await client.do("unreadAgain", 4)
        await client.has([4, 3, 2], 4)
        await client.do("archive", 3)
        await client.has([4, 2], 3)
        await client.do("unarchive", 3)
        await client.has([4, 3, 2], 4)
        await client.do("readAll")
        await client.has([4, 3, 2], 0)
        await client.do("archiveAll")
        await client.has([], 0)


async def test_it_comes_back_with_its_cursor(gate: Gate, inbox: Inbox) -> None:
    async with talker(f"http://{gate.address}", gate.token("ada")) as client:
        await client.state("live")
        await inbox.commit("ada", 2)  # without a hint
        [socket] = gate.board._lines["ada"]
        socket.close(Closing(Close.RESTARTING, "retry_ms=1"))
        await client.state("waiting")
        await client.do("read", 1)
        await client.has([2, 1], 2)
        await client.state("live")
        await client.has([2, 1], 1)


async def test_a_second_client_of_the_user_follows(gate: Gate, inbox: Inbox) -> None:
    await inbox.deliver("ada", 2)
    url, token = f"http://{gate.address}", gate.token("ada")
    async with talker(url, token) as one, talker(url, token) as other:
        await one.state("live")
        await other.state("live")
        await one.do("read", 2)
        await other.has([2, 1], 1)


async def test_a_token_is_renewed_before_it_ends(gate: Gate, inbox: Inbox) -> None:
    """On the same socket: the inbox hears nothing of it."""
    tokens = gate.token("ada", seconds=20), gate.token("ada")
    async with talker(f"http://{gate.address}", *tokens) as client:
        await client.state("live")
        [socket] = gate.board._lines["ada"]
        await client.until(lambda news: news["asked"] == 2)  # the answer to the second token
        await inbox.deliver("ada")
        await client.has([1], 1)
        assert gate.board._lines["ada"] == {socket}


async def test_an_expired_token_is_replaced_at_once(gate: Gate) -> None:
    async with talker(f"http://{gate.address}", gate.token("ada"), gate.token("ada")) as client:
        await client.state("live")
        [socket] = gate.board._lines["ada"]
        socket.close(Closing(Close.TOKEN_EXPIRED, ""))
        news = await client.until(lambda news: news["type"] == "state" and news["state"] == "live")
        assert news["asked"] == 2


async def test_a_token_that_does_not_hold_ends_it(gate: Gate) -> None:
    async with talker(f"http://{gate.address}", "none") as client:
        news = await client.until(lambda news: news["type"] == "ended")
        assert "does not hold" in news["detail"]
        assert news["state"] == "ended"
