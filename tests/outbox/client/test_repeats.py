"""What is sent again and what is not: answers that get lost, servers that refuse for a while."""

import pytest

from db.pool import Connection
from outbox.client import (
    Options,
    ProblemError,
    Retry,
    ThrottledError,
    UnavailableError,
    UnreachableError,
)
from outbox.local.ports import any_free
from outbox.tokens import Scope
from tests.outbox.client.conftest import Open, Token
from tests.outbox.client.odd_server import HANG_UP, answer, odd_server

HELLO = {"event_type": "order.paid", "user_id": "ada"}
QUICK = Options(retry=Retry(attempts=4, base=0.001), timeout=60)


async def test_a_lost_answer_creates_nothing_twice(
    opened: Open, api_url: str, token: Token, admin: Connection
) -> None:
    async with odd_server(behind=api_url, swallow=2) as odd, opened(odd.url, token(), QUICK) as both:
        accepted = await both.do(lambda c: c.notifications.create(**HELLO))
        many = await both.do(lambda c: c.notifications.create_many([HELLO]))
    assert len(odd.heads) == 4
    assert (accepted.replayed, many.notifications[0].replayed) == (False, False)
    rows = await admin.fetch("SELECT id FROM notify.notifications ORDER BY created_at")
    assert [row["id"] for row in rows] == [accepted.id, many.notifications[0].id]


@pytest.mark.parametrize("first", [answer(503, Retry_After="0"), answer(429, Retry_After="0"), HANG_UP])
async def test_it_comes_through_in_the_end(opened: Open, api_url: str, token: Token, first: bytes) -> None:
    async with odd_server([first, first], behind=api_url) as odd, opened(odd.url, token(), QUICK) as both:
        await both.do(lambda c: c.notifications.create(**HELLO))
    assert len(odd.heads) == 3


async def test_it_gives_up(opened: Open) -> None:
    async with (
        odd_server([answer(503, '{"detail": "away"}')] * 4) as odd,
        opened(odd.url, "t", QUICK) as both,
    ):
        with pytest.raises(UnavailableError, match="503 away"):
            await both.do(lambda c: c.users.devices("ada"))
    assert len(odd.heads) == 4


async def test_a_bug_is_not_asked_for_twice(opened: Open) -> None:
    async with odd_server([answer(500, "<html>")]) as odd, opened(odd.url, "t", QUICK) as both:
        with pytest.raises(UnavailableError):
            await both.do(lambda c: c.users.devices("ada"))
    assert len(odd.heads) == 1


async def test_a_pause_beyond_patience_is_not_waited_for(opened: Open) -> None:
    async with odd_server([answer(429, Retry_After="3600")]) as odd, opened(odd.url, "t", QUICK) as both:
        with pytest.raises(ThrottledError):
            await both.do(lambda c: c.users.devices("ada"))


async def test_nobody_there(opened: Open) -> None:
    async with opened(f"http://127.0.0.1:{any_free()}", "t", QUICK) as both:
        with pytest.raises(UnreachableError, match="ConnectError"):
            await both.do(lambda c: c.users.devices("ada"))


async def test_letters_by_a_filter_are_not_asked_for_again(
    opened: Open, api_url: str, token: Token, admin: Connection
) -> None:
    """The next ones would be taken, too."""
    await admin.execute(
        "INSERT INTO notify.notifications_failed (channel, error_class, reason)"
        " SELECT 'email', 'smtp_5xx', 'no' FROM generate_series(1, 5)"
    )
    async with (
        odd_server(behind=api_url, swallow=1) as odd,
        opened(odd.url, token("ops", Scope.ADMIN), QUICK) as both,
    ):
        with pytest.raises(UnreachableError):
            await both.do(lambda c: c.dead_letters.discard(limit=1))
    assert await admin.fetchval("SELECT count(discarded_at) FROM notify.notifications_failed") == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_has_done_nothing(opened: Open, status: int) -> None:
    async with (
        odd_server([answer(status, Location="https://notify.example.com/")]) as odd,
        opened(odd.url, "t", QUICK) as both,
    ):
        with pytest.raises(ProblemError, match=str(status)):
            await both.do(lambda c: c.recipients.remove("ada"))
