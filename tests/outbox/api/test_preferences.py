"""/v1/users/{user_id}/preferences: one's own, or anybody's for a producer."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import problem

PATH = "/v1/users/ada/preferences"
NIGHT: dict[str, Any] = {"from": "22:00", "to": "07:00"}
WISHES: list[dict[str, Any]] = [
    {"channel": "email", "event_type": "*", "enabled": False, "constraints": {}},
    {
        "channel": "email",
        "event_type": "order.*",
        "enabled": True,
        "constraints": {
            "quiet_hours": NIGHT | {"days": ["mon", "sun"]},
            "cap": {"count": 5, "per": 86_400},
        },
    },
]


def as_user(api: httpx.AsyncClient, settings: Settings, user: str) -> None:
    api.headers["Authorization"] = f"Bearer {issue(settings, user, Scope.USER, timedelta(minutes=5))}"


async def put(api: httpx.AsyncClient, wishes: Any, path: str = PATH) -> httpx.Response:
    return await api.put(path, json={"preferences": wishes})


def bare(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [
        {key: value for key, value in wish.items() if key != "updated_at"}
        for wish in answer.json()["preferences"]
    ]


async def test_they_come_back_as_they_were_given(api: httpx.AsyncClient, settings: Settings) -> None:
    assert bare(await api.get(PATH)) == []
    assert bare(await put(api, WISHES)) == WISHES
    as_user(api, settings, "ada")
    assert bare(await api.get(PATH)) == WISHES
    kept = [{"channel": "sms", "event_type": "*", "enabled": True, "constraints": {"quiet_hours": None}}]
    assert bare(await put(api, kept)) == kept, "what is not given goes"
    assert bare(await put(api, [{"channel": "push"}])) == [
        {"channel": "push", "event_type": "*", "enabled": True, "constraints": {}}
    ]


async def test_a_user_has_no_business_with_another_s(api: httpx.AsyncClient, settings: Settings) -> None:
    as_user(api, settings, "eve")
    assert problem(await api.get(PATH), 403, "forbidden") == []
    assert problem(await put(api, WISHES), 403, "forbidden") == []
    assert bare(await put(api, WISHES, "/v1/users/eve/preferences")) == WISHES


async def test_no_token_no_preferences(api: httpx.AsyncClient, settings: Settings) -> None:
    api.headers["Authorization"] = f"Bearer {issue(settings, 'ada', Scope.ADMIN, timedelta(minutes=5))}"
    problem(await api.get(PATH), 403, "forbidden")
    del api.headers["Authorization"]
    problem(await api.get(PATH), 401, "unauthenticated")


@pytest.mark.parametrize("user", ["a/b", "ada@example.org", "日本", "a b"])
async def test_any_id_of_a_user(api: httpx.AsyncClient, settings: Settings, user: str) -> None:
    as_user(api, settings, user)
    path = (
        f"/v1/users/{httpx.QueryParams({'u': user})}".replace("u=", "").replace("+", "%20") + "/preferences"
    )
    assert bare(await put(api, WISHES, path)) == WISHES


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"channel": "fax"}, "preferences"),
        ({"channel": "email", "event_type": "order*"}, "preferences.0.event_type"),
        (
            {"channel": "email", "constraints": {"cap": {"count": 0, "per": 5}}},
            "preferences.0.constraints.cap.count",
        ),
        (
            {"channel": "email", "constraints": {"cap": {"count": 1, "per": "soon"}}},
            "preferences.0.constraints.cap.per",
        ),
        (
            {"channel": "email", "constraints": {"quiet_hours": {"from": "22", "to": "07:00"}}},
            "preferences.0.constraints.quiet_hours.from",
        ),
        ({"channel": "email", "constraints": {"noise": 1}}, "preferences.0.constraints.noise"),
        ({"channel": "email", "on": True}, "preferences.0.on"),
    ],
)
async def test_what_cannot_be_wished(api: httpx.AsyncClient, wish: dict[str, Any], field: str) -> None:
    found = problem(await put(api, [wish]), 422, "invalid")
    assert [name for name, _ in found] == [field]
    assert bare(await api.get(PATH)) == []


async def test_each_is_said_once(api: httpx.AsyncClient) -> None:
    [(_, said)] = problem(await put(api, [WISHES[0], WISHES[0]]), 422, "invalid")
    assert said == "must not name the same channel and event_type twice"


async def test_a_user_s_id_is_printable(api: httpx.AsyncClient) -> None:
    [(field, _)] = problem(await api.get("/v1/users/a%00b/preferences"), 422, "invalid")
    assert field == "user_id"
