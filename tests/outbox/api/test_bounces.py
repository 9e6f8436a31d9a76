"""POST /v1/bounces: reports reach the timeline and the suppression list, but only about mails they can be about."""

from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from db.pool import Connection
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from outbox.verp import envelope_sender
from tests.outbox.api.answers import problem
from tests.outbox.api.mails import handed_over, suppressed, timeline
from tests.outbox.api.reports import Bounced

BOUNCED = [("bounced", {"status": "5.1.1", "provider": "rfc3464"})]


@pytest.fixture
def pipe(api: httpx.AsyncClient, settings: Settings) -> httpx.AsyncClient:
    """The mail server, with a token for nothing else."""
    api.headers["Authorization"] = f"Bearer {issue(settings, 'mx1', Scope.BOUNCES, timedelta(minutes=5))}"
    return api


def verp(settings: Settings, mail: UUID, address: str = "ada@example.com") -> str:
    return envelope_sender(
        settings.link_key("bounce"), "bounce@bounces.example.com", (mail, "email", address)
    )


async def hand_in(pipe: httpx.AsyncClient, report: Bounced) -> str:
    answer = await pipe.post("/v1/bounces", content=report.raw(), headers={"Content-Type": "message/rfc822"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["result"])


async def test_a_hard_bounce_suppresses_and_is_told_once(
    pipe: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin, "Ada@example.com")
    report = Bounced(verp(settings, mail))
    assert [await hand_in(pipe, report) for _ in range(2)] == ["bounced", "repeated"]
    assert await timeline(admin, mail) == BOUNCED
    assert await suppressed(admin) == {"ada@example.com": "hard bounce"}


async def test_a_forwarded_mail_suppresses_the_address_it_went_to(
    pipe: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin)
    report = Bounced(verp(settings, mail), final="old@elsewhere.example", original="old@elsewhere.example")
    assert await hand_in(pipe, report) == "bounced"
    assert await suppressed(admin) == {"ada@example.com": "hard bounce"}


async def test_an_address_changed_since_is_not_suppressed(
    pipe: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin, "new@example.com")
    assert await hand_in(pipe, Bounced(verp(settings, mail))) == "bounced"
    assert await suppressed(admin) == {"ada@example.com": "hard bounce"}


async def test_by_message_id_without_a_token(pipe: httpx.AsyncClient, admin: Connection) -> None:
    mail = await handed_over(admin)
    assert await hand_in(pipe, Bounced(message_id=f"<{mail}.email@shop.example>")) == "bounced"
    assert await timeline(admin, mail) == BOUNCED
    assert await suppressed(admin) == {"ada@example.com": "hard bounce"}


@pytest.mark.parametrize(
    ("action", "status"), [("delayed", "4.4.1"), ("failed", "5.2.2"), ("failed", "4.4.7")]
)
async def test_a_soft_bounce_never_suppresses(
    pipe: httpx.AsyncClient, admin: Connection, settings: Settings, action: str, status: str
) -> None:
    mail = await handed_over(admin)
    result = await hand_in(pipe, Bounced(verp(settings, mail), action=action, status=status))
    assert await timeline(admin, mail) == [(result, {"status": status, "provider": "rfc3464"})]
    assert await suppressed(admin) == {}


async def test_a_token_cannot_suppress_somebody_elses_address(
    pipe: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin, "eve@example.com")
    own = verp(settings, mail, "eve@example.com")
    assert await hand_in(pipe, Bounced(own, "victim@example.com", "victim@example.com")) == "bounced"
    assert await suppressed(admin) == {"eve@example.com": "hard bounce"}


async def test_a_forged_token_does_nothing(pipe: httpx.AsyncClient, admin: Connection) -> None:
    mail = await handed_over(admin)
    forged = envelope_sender(b"x" * 32, "bounce@bounces.example.com", (mail, "email", "ada@example.com"))
    assert await hand_in(pipe, Bounced(forged, message_id=f"<{mail}.email@shop.example>")) == "not_ours"
    assert (await timeline(admin, mail), await suppressed(admin)) == ([], {})


async def test_a_message_id_and_a_strangers_address_suppress_nobody(
    pipe: httpx.AsyncClient, admin: Connection
) -> None:
    mail = await handed_over(admin)
    report = Bounced(final="x@y.example", original="x@y.example", message_id=f"<{mail}.email@shop.example>")
    assert await hand_in(pipe, report) == "bounced"
    assert await suppressed(admin) == {}


async def test_what_is_no_report_or_not_ours_is_taken_and_left(
    pipe: httpx.AsyncClient, settings: Settings
) -> None:
    answer = await pipe.post("/v1/bounces", content=b"Subject: on holiday\r\n\r\nuntil Monday")
    assert (answer.status_code, answer.json()) == (202, {"result": "no_report"})
    assert await hand_in(pipe, Bounced()) == "not_ours"
    assert await hand_in(pipe, Bounced(verp(settings, uuid4()))) == "not_ours"
    large = await pipe.post("/v1/bounces", content=Bounced().raw() + b"x" * 3_000_000)
    assert large.json() == {"result": "not_ours"}


async def test_the_recipient_may_be_named_in_the_query(
    pipe: httpx.AsyncClient, admin: Connection, settings: Settings
) -> None:
    mail = await handed_over(admin)
    answer = await pipe.post(
        "/v1/bounces", params={"recipient": verp(settings, mail)}, content=Bounced("x@y.z").raw()
    )
    assert answer.json() == {"result": "bounced"}


async def test_only_with_a_token_for_it(api: httpx.AsyncClient, settings: Settings) -> None:
    user = {"Authorization": f"Bearer {issue(settings, 'ada', Scope.USER, timedelta(minutes=5))}"}
    problem(await api.post("/v1/bounces", content=b"x", headers=user), 403, "forbidden")
    problem(
        await api.post("/v1/bounces", content=b"x", headers={"Authorization": ""}), 401, "unauthenticated"
    )
    pipe = {"Authorization": f"Bearer {issue(settings, 'mx', Scope.BOUNCES, timedelta(minutes=5))}"}
    problem(await api.post("/v1/notifications", json={}, headers=pipe), 403, "forbidden")
