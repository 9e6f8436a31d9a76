"""/v1/users/{user_id}/inbox: pages, exact counts, and what is changed here is told to the user's sockets."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from db.pool import Connection, Pool
from outbox.api import inbox
from outbox.api.app import create_app
from outbox.inbox import InboxChange
from outbox.nodes import Nodes
from outbox.probes import Health
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.gateway.harness import Inbox, serving
from tests.hints import hints
from tests.outbox.api.answers import problem

ADA = "/v1/users/ada/inbox"


@pytest.fixture
async def told(settings: Settings, pool: Pool, nodes: Nodes, producer: Connection) -> Inbox:
    return Inbox(settings, pool, nodes, producer)


@pytest.fixture
async def ada(settings: Settings, pool: Pool, nodes: Nodes) -> AsyncIterator[httpx.AsyncClient]:
    """The API with Redis, spoken to with Ada's own token."""
    app = create_app(settings, pool, Health(), nodes)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {issue(settings, 'ada', Scope.USER, timedelta(minutes=5))}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


async def seqs(api: httpx.AsyncClient, query: str = "", path: str = ADA) -> list[int]:
    """Of all pages."""
    found: list[int] = []
    cursor = ""
    while True:
        answer = await api.get(f"{path}?{query}{cursor}")
        assert answer.status_code == 200, answer.text
        found += [item["seq"] for item in answer.json()["items"]]
        if answer.json()["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.json()['next_cursor']}"


async def mark(api: httpx.AsyncClient, verb: str, **body: Any) -> dict[str, Any]:
    answer = await api.post(f"{ADA}:{verb}", json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_newest_first_page_by_page(ada: httpx.AsyncClient, told: Inbox) -> None:
    await told.deliver("ada", 7, title="Hello")
    await told.deliver("bob", 2)
    answer = await ada.get(f"{ADA}?limit=3")
    assert answer.headers["cache-control"] == "no-store"
    page = answer.json()
    assert [item["seq"] for item in page["items"]] == [7, 6, 5]
    assert (page["next_cursor"], page["unread"], page["version"], page["last_seq"]) == ("5", 7, 7, 7)
    assert page["items"][0]["payload"] == {"title": "Hello"}
    assert await seqs(ada, "limit=3") == await seqs(ada, "limit=7") == [7, 6, 5, 4, 3, 2, 1]


async def test_the_last_page_is_the_one_with_the_oldest_that_is_left(
    ada: httpx.AsyncClient, told: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gone leaves no pages behind that would all have to be asked for."""
    monkeypatch.setattr(inbox, "LOOK", 2)
    await told.deliver("ada", 9)
    await told.pool.execute("DELETE FROM notify.inbox WHERE seq IN (1, 2, 3, 4, 7, 8)")
    cursors, cursor = [], "10"
    while cursor is not None:
        cursor = (await ada.get(f"{ADA}?cursor={cursor}")).json()["next_cursor"]
        cursors.append(cursor)
    assert cursors == ["8", "6", None]
    assert await seqs(ada) == [9, 6, 5]


async def test_an_inbox_that_nothing_came_to(ada: httpx.AsyncClient) -> None:
    nothing = {"unread": 0, "version": 0, "last_seq": 0}
    assert (await ada.get(ADA)).json() == {"items": [], "next_cursor": None} | nothing
    assert (await ada.get(f"{ADA}/count")).json() == nothing | {"total": 0}
    assert await mark(ada, "read-all") == nothing | {"changed": False}
    assert await mark(ada, "read", ids=[str(uuid4())]) == nothing | {"changed": False}


async def test_each_mark_and_each_filter(ada: httpx.AsyncClient, told: Inbox) -> None:
    await told.deliver("ada", 5)
    assert await mark(ada, "read", seqs=[1, 2, 2, 9]) == {
        "changed": True, "unread": 3, "version": 6, "last_seq": 5,
    }  # fmt: skip
    assert (await mark(ada, "read", seqs=[1]))["changed"] is False
    assert (await mark(ada, "archive", seqs=[2, 3]))["unread"] == 2
    assert await seqs(ada) == [5, 4, 1]
    assert await seqs(ada, "unread=true") == [5, 4]
    assert await seqs(ada, "unread=false") == [1]
    assert await seqs(ada, "archived=true") == [3, 2]
    assert await seqs(ada, "archived=true&unread=true") == [3]
    assert (await mark(ada, "unread", seqs=[1]))["unread"] == 3
    assert (await mark(ada, "unarchive", seqs=[3]))["unread"] == 4
    assert (await mark(ada, "read-all", up_to=4))["unread"] == 1
    assert (await mark(ada, "archive-all"))["unread"] == 0
    assert await seqs(ada) == []
    counted = (await ada.get(f"{ADA}/count")).json()
    assert counted == {"unread": 0, "total": 5, "version": 11, "last_seq": 5}
    assert await told.counters("ada") == (5, 0, 11)


async def test_by_the_ids_of_notifications(ada: httpx.AsyncClient, told: Inbox) -> None:
    """Only one's own: bob's item stays as it is."""
    await told.deliver("ada", 2)
    await told.deliver("bob", 1)
    (bobs,) = await told.pool.fetch("SELECT notification_id AS id FROM notify.inbox WHERE user_id = 'bob'")
    first = (await ada.get(ADA)).json()["items"][1]["notification_id"]
    assert (await mark(ada, "read", ids=[first, str(bobs["id"]), str(uuid4())]))["unread"] == 1
    assert await seqs(ada, "unread=true") == [2]
    assert await told.counters("bob") == (1, 1, 1)


async def test_the_users_sockets_hear_of_it(ada: httpx.AsyncClient, told: Inbox, settings: Settings) -> None:
    await told.deliver("ada", 3)
    async with serving(settings) as gate, gate.client("ada") as socket:
        await socket.synced()
        answer = await mark(ada, "read", seqs=[1, 3])
        frame = await socket.until(lambda frame: bool(frame["type"] == "changed" and frame["read"]))
        assert (frame["read"], frame["unread"], frame["version"]) == ([1, 3], 1, answer["version"])


async def test_without_redis_the_change_is_made_all_the_same(
    settings: Settings, pool: Pool, told: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    await told.deliver("ada", 1)
    gone = Nodes("redis://127.0.0.1:1", protocol=2)
    transport = httpx.ASGITransport(create_app(settings, pool, Health(), gone))
    headers = {"Authorization": f"Bearer {issue(settings, 'shop', Scope.PRODUCER, timedelta(minutes=5))}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as api:
        assert (await mark(api, "read", seqs=[1]))["unread"] == 0
    await gone.aclose()
    assert "inbox.publish_failed" in capsys.readouterr().out


async def test_a_long_list_is_told_without_its_items(
    ada: httpx.AsyncClient, told: Inbox, settings: Settings
) -> None:
    """The sockets then look for themselves."""
    await told.commit("ada", 501)
    channel = settings.keys.user("ada")
    async with hints(settings.redis, channel) as heard, asyncio.timeout(60):
        await mark(ada, "read-all")
        change = InboxChange.model_validate_json(await heard())
    assert (change.read, change.unread) == ([], 0)


async def test_a_page_looks_no_further_than_it_may(
    ada: httpx.AsyncClient, told: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told.commit("ada", 9)
    await mark(ada, "archive-all", up_to=8)
    await mark(ada, "unarchive", seqs=[1])
    monkeypatch.setattr(inbox, "LOOK", 3)
    first = (await ada.get(f"{ADA}?cursor=9")).json()
    assert (first["items"], first["next_cursor"]) == ([], "6")
    assert await seqs(ada) == [9, 1]


@pytest.mark.parametrize("user_id", ["a%2Fb", "a/b", "a%20b", "ü", "a%2Finbox", "inbox", "a%3Aread"])
async def test_a_user_id_is_the_producers_own(api: httpx.AsyncClient, told: Inbox, user_id: str) -> None:
    own = httpx.URL(f"http://x/{user_id}").path.removeprefix("/")
    await told.commit(own, 2)
    path = f"/v1/users/{user_id}/inbox"
    assert await seqs(api, path=path) == [2, 1]
    assert (await api.post(f"{path}:read", json={"seqs": [1]})).json()["unread"] == 1
    assert (await api.get(f"{path}/count")).json()["unread"] == 1


PATHS = [("GET", ""), ("GET", "/count"), *(("POST", f":{verb}") for verb in [*inbox.LISTED, *inbox.UP_TO])]


@pytest.mark.parametrize(("method", "end"), PATHS)
async def test_only_the_user_and_producers(
    ada: httpx.AsyncClient, api: httpx.AsyncClient, method: str, end: str
) -> None:
    body = {"seqs": [1]} if end.removeprefix(":") in inbox.LISTED else {}
    json = body if method == "POST" else None
    problem(await ada.request(method, f"/v1/users/bob/inbox{end}", json=json), 403, "forbidden")
    assert (await ada.request(method, f"{ADA}{end}", json=json)).status_code == 200
    assert (await api.request(method, f"{ADA}{end}", json=json)).status_code == 200, "a producer may"


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("read", {}, "body"),
        ("read", {"seqs": [1], "ids": ["01890a5d-ac96-774b-bcce-b302099a8057"]}, "body"),
        ("read", {"seqs": []}, "seqs"),
        ("read", {"seqs": [-1]}, "seqs.0"),
        ("read", {"seqs": ["1"]}, "seqs.0"),
        ("read", {"seqs": [2**63]}, "seqs.0"),
        ("read", {"seqs": list(range(501))}, "seqs"),
        ("read", {"ids": ["x"]}, "ids.0"),
        ("read", {"items": [1]}, "items"),
        ("read-all", {"up_to": True}, "up_to"),
        ("read-all", {"seqs": [1]}, "seqs"),
    ],
    ids=str,
)
async def test_what_is_no_change_is_refused(
    ada: httpx.AsyncClient, verb: str, body: dict[str, Any], field: str
) -> None:
    answer = await ada.post(f"{ADA}:{verb}", json=body)
    assert field in [name for name, _ in problem(answer, 422, "invalid")]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "cursor=x", "cursor=0", "unread=maybe", "a=b"])
async def test_what_is_no_query_is_refused(ada: httpx.AsyncClient, query: str) -> None:
    ((field, _),) = problem(await ada.get(f"{ADA}?{query}"), 422, "invalid")
    assert field == query.partition("=")[0]
