"""/v1/recipients: what may be said of somebody, no lost edits, and nothing here that is kept elsewhere."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from db.pool import Connection, Pool
from outbox.api.app import create_app
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import problem

ADA = "/v1/recipients/ada"
QUIET = {"from": "22:00", "to": "07:00", "days": ["mon", "fri"]}
WHOLE: dict[str, Any] = {
    "email": "ada@example.org",
    "phone": "+491701234567",
    "locale": "de-AT",
    "time_zone": "Europe/Vienna",
    "quiet_hours": QUIET,
}
NOTHING = dict.fromkeys(WHOLE)


def facts(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in {200, 201}, answer.text
    return {name: answer.json()[name] for name in WHOLE}


async def test_put_shown_changed_and_removed(api: httpx.AsyncClient) -> None:
    problem(await api.get(ADA), 404, "not-found")
    added = await api.put(ADA, json=WHOLE)
    assert (added.status_code, facts(added), added.json()["user_id"]) == (201, WHOLE, "ada")
    assert added.headers["cache-control"] == "no-store"
    shown = await api.get(ADA)
    assert (shown.json(), shown.headers["etag"]) == (added.json(), added.headers["etag"])
    changed = await api.patch(ADA, json={"phone": None, "locale": "fr"})
    assert facts(changed) == WHOLE | {"phone": None, "locale": "fr"}
    again = await api.put(ADA, json={"email": "ada@example.com"})
    assert (again.status_code, facts(again)) == (200, NOTHING | {"email": "ada@example.com"})
    for _ in range(2):
        assert (await api.delete(ADA)).status_code == 204
    problem(await api.patch(ADA, json={"locale": "fr"}), 404, "not-found")


async def test_nobody_overwrites_what_they_have_not_seen(api: httpx.AsyncClient, admin: Connection) -> None:
    first = (await api.put(ADA, json=WHOLE, headers={"If-None-Match": "*"})).headers["etag"]
    new = {"If-None-Match": "*"}
    problem(await api.put(ADA, json=WHOLE, headers=new), 412, "precondition-failed")
    await admin.execute("UPDATE notify.recipients SET locale = 'fr'")  # by whomever
    late = {"If-Match": first}
    for answer in (
        await api.put(ADA, json=WHOLE, headers=late),
        await api.patch(ADA, json={"phone": None}, headers=late),
        await api.delete(ADA, headers=late),
        await api.put("/v1/recipients/bob", json=WHOLE, headers=late),
        await api.put("/v1/recipients/bob", json=WHOLE, headers={"If-Match": "*"}),
    ):
        problem(answer, 412, "precondition-failed")
    seen = (await api.get(ADA)).headers["etag"]
    changed = await api.patch(ADA, json={"phone": None}, headers={"If-Match": f'"other", {seen}'})
    assert changed.json()["locale"] == "fr"
    assert changed.headers["etag"] not in {first, seen}
    assert (await api.delete(ADA, headers={"If-Match": "*"})).status_code == 204


async def test_of_two_that_are_the_first_one_is(api: httpx.AsyncClient) -> None:
    new = {"If-None-Match": "*"}
    answers = await asyncio.gather(
        *(api.put(ADA, json={"locale": locale}, headers=new) for locale in ("de", "fr", "it"))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 412, 412]


async def test_listed_page_by_page(api: httpx.AsyncClient) -> None:
    names = ["a/b", "ada", "bob", "c d", "ü"]
    for name in names:
        await api.put(f"/v1/recipients/{name}", json={"locale": "de"})
    found, cursor = [], ""
    while cursor is not None:
        more = {"cursor": cursor} if cursor else {}
        page = (await api.get("/v1/recipients", params={"limit": "2", **more})).json()
        found += [one["user_id"] for one in page["recipients"]]
        cursor = page["next_cursor"]
    assert sorted(found) == sorted(names)
    assert (await api.get("/v1/recipients/a%2Fb")).json()["user_id"] == "a/b"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a b@example.org"}, "email"),
        ({"email": "a@b@c"}, "email"),
        ({"email": "a\x00@example.org"}, "email"),
        ({"email": "x" * 320 + "@a"}, "email"),
        ({"phone": "0170 1234567"}, "phone"),
        ({"phone": "+49170\n"}, "phone"),
        ({"phone": 49}, "phone"),
        ({"locale": "german!"}, "locale"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"quiet_hours": {"from": "25:00", "to": "07:00"}}, "quiet_hours.from"),
        ({"quiet_hours": {"from": "22:00"}}, "quiet_hours.to"),
        ({"quiet_hours": {"from": "22:00", "to": "22:00"}}, "quiet_hours"),
        ({"user_id": "bob"}, "user_id"),
    ],
    ids=str,
)
async def test_what_breaks_a_rule_is_named(
    api: httpx.AsyncClient, admin: Connection, change: dict[str, Any], field: str
) -> None:
    await api.put(ADA, json={"locale": "de"})
    for answer in (await api.put(ADA, json=WHOLE | change), await api.patch(ADA, json=change)):
        ((named, _),) = problem(answer, 422, "invalid")
        assert named == field
    assert await admin.fetchval("SELECT locale FROM notify.recipients") == "de"


async def test_half_a_character_is_none(api: httpx.AsyncClient) -> None:
    answer = await api.put(
        ADA, content=r'{"email": "a\ud800@b"}', headers={"Content-Type": "application/json"}
    )
    assert problem(answer, 422, "invalid")[0][0] == "email"


@pytest.mark.parametrize("user_id", ["", "%00", "x" * 201, "a%01b"])
async def test_what_is_no_user_is_refused(api: httpx.AsyncClient, user_id: str) -> None:
    answer = await api.get(f"/v1/recipients/{user_id}")
    assert problem(answer, 422, "invalid")[0][0] == "user_id"


async def test_who_may(api: httpx.AsyncClient, settings: Settings) -> None:
    """A user may look at the own contact, and change nothing: an address that nobody has checked is not taken."""
    await api.put(ADA, json=WHOLE)
    own = {"Authorization": f"Bearer {issue(settings, 'ada', Scope.USER, timedelta(minutes=1))}"}
    assert (await api.get(ADA, headers=own)).status_code == 200
    for method, path in [
        ("GET", "/v1/recipients/bob"),
        ("GET", "/v1/recipients"),
        ("PUT", ADA),
        ("DELETE", ADA),
    ]:
        json = WHOLE if method == "PUT" else None
        problem(await api.request(method, path, headers=own, json=json), 403, "forbidden")


async def test_what_is_kept_elsewhere_is_changed_there(
    settings: Settings, pool: Pool, token: str, admin: Connection
) -> None:
    """Quiet hours are only here; what the workers were told stays."""
    elsewhere = settings.model_copy(update={"recipient_url": "https://users.internal/{user_id}"})
    await admin.execute(
        "INSERT INTO notify.recipients (user_id, email, asked_at) VALUES ('ada', 'a@b', now())"
    )
    transport = httpx.ASGITransport(create_app(elsewhere, pool, Health()))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as api:
        for answer in (await api.put(ADA, json=WHOLE), await api.patch(ADA, json={"phone": None})):
            problem(answer, 409, "kept-elsewhere")
            assert "OUTBOX_RECIPIENT_URL" in answer.json()["detail"]
        kept = await api.put(ADA, json={"quiet_hours": QUIET})
        assert facts(kept) == NOTHING | {"email": "a@b", "quiet_hours": QUIET}
        assert facts(await api.put(ADA, json={})) == NOTHING | {"email": "a@b"}
