"""/v1/users/{user_id}/devices: register, list, forget; who may, and what is refused."""

from datetime import timedelta
from random import Random
from typing import Any

import httpx
import pytest

from db.push import DEVICES
from outbox.settings import Settings
from outbox.tokens import Scope, issue
from tests.outbox.api.answers import fields, problem

IOS, ANDROID = "ab" * 32, "fGz:APA91b-x_y"


@pytest.fixture
def ada(settings: Settings) -> dict[str, str]:
    """Ada's own token, in place of the producer's."""
    return {"Authorization": f"Bearer {issue(settings, 'ada', Scope.USER, timedelta(minutes=5))}"}


async def put(
    api: httpx.AsyncClient, user_id: str, platform: Any, token: Any, **options: Any
) -> httpx.Response:
    document = {"platform": platform, "token": token}
    return await api.put(f"/v1/users/{user_id}/devices", json=document, **options)


async def tokens(api: httpx.AsyncClient, user_id: str) -> list[str]:
    answer = await api.get(f"/v1/users/{user_id}/devices")
    assert answer.status_code == 200, answer.text
    return [device["token"] for device in answer.json()["devices"]]


async def test_a_device_is_registered_listed_and_forgotten(
    api: httpx.AsyncClient, ada: dict[str, str]
) -> None:
    answer = await put(api, "ada", "fcm", ANDROID, headers=ada)
    assert answer.status_code == 200
    assert (answer.json()["platform"], answer.json()["token"]) == ("fcm", ANDROID)
    await put(api, "ada", "apns", IOS, headers=ada)
    listed = await api.get("/v1/users/ada/devices", headers=ada)
    assert [device["token"] for device in listed.json()["devices"]] == [IOS, ANDROID], "the newest first"
    assert listed.headers["cache-control"] == "no-store"
    for _ in range(2):  # safe to repeat
        gone = await api.delete(f"/v1/users/ada/devices/{ANDROID}", headers=ada)
        assert (gone.status_code, gone.content) == (204, b"")
    assert await tokens(api, "ada") == [IOS]


async def test_all_are_forgotten_at_once(api: httpx.AsyncClient, ada: dict[str, str]) -> None:
    for token in (ANDROID, "another"):
        await put(api, "ada", "fcm", token)
    await put(api, "bob", "apns", IOS)
    for _ in range(2):
        assert (await api.delete("/v1/users/ada/devices", headers=ada)).status_code == 204
    assert (await tokens(api, "ada"), await tokens(api, "bob")) == ([], [IOS])
    problem(await api.delete("/v1/users/bob/devices", headers=ada), 403, "forbidden")


async def test_registering_again_confirms(api: httpx.AsyncClient) -> None:
    first = (await put(api, "ada", "apns", IOS)).json()
    second = (await put(api, "ada", "apns", IOS.upper())).json()
    assert (second["id"], second["token"]) == (first["id"], IOS), (
        "hexadecimal is a number, however it is spelled"
    )
    assert second["registered_at"] > first["registered_at"]
    assert await tokens(api, "ada") == [IOS]
    await api.delete(f"/v1/users/ada/devices/{IOS.upper()}")
    assert await tokens(api, "ada") == []


async def test_a_device_that_another_user_has_now_moves_over(api: httpx.AsyncClient) -> None:
    await put(api, "ada", "fcm", ANDROID)
    await put(api, "bob", "fcm", ANDROID)
    assert (await tokens(api, "ada"), await tokens(api, "bob")) == ([], [ANDROID])
    await api.delete(f"/v1/users/ada/devices/{ANDROID}")
    assert await tokens(api, "bob") == [ANDROID], "only one's own are forgotten"


async def test_only_the_newest_are_kept(api: httpx.AsyncClient) -> None:
    for number in range(DEVICES + 2):
        await put(api, "ada", "fcm", f"token-{number}")
    await put(api, "bob", "fcm", "token-of-bob")
    kept = await tokens(api, "ada")
    assert (len(kept), kept[0], kept[-1]) == (DEVICES, f"token-{DEVICES + 1}", "token-2")


@pytest.mark.parametrize("user_id", ["a/b", "a%20b", "a/devices", "ü"])
async def test_a_user_id_is_the_producers_own(api: httpx.AsyncClient, user_id: str) -> None:
    assert (await put(api, user_id, "fcm", ANDROID)).status_code == 200
    assert await tokens(api, user_id) == [ANDROID]
    assert (await api.delete(f"/v1/users/{user_id}/devices/{ANDROID}")).status_code == 204
    assert await tokens(api, user_id) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_the_user_and_producers(api: httpx.AsyncClient, ada: dict[str, str], method: str) -> None:
    path = "/v1/users/bob/devices" + (f"/{ANDROID}" if method == "DELETE" else "")
    document = {"platform": "fcm", "token": ANDROID}
    json = document if method == "PUT" else None
    problem(await api.request(method, path, headers=ada, json=json), 403, "forbidden")
    nobody = await api.request(method, path, headers={"Authorization": ""}, json=json)
    problem(nobody, 401, "unauthenticated")
    assert (await api.request(method, path, json=json)).status_code in {200, 204}, "a producer may"


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, ["platform"]),
        ({"platform": "smoke", "token": ANDROID}, ["platform"]),
        ({"platform": ["fcm"], "token": ANDROID}, ["platform"]),
        ({"platform": "fcm"}, ["token"]),
        ({"platform": "fcm", "token": ""}, ["token"]),
        ({"platform": "fcm", "token": "a b"}, ["token"]),
        ({"platform": "fcm", "token": "a/b"}, ["token"]),
        ({"platform": "fcm", "token": "x" * 2001}, ["token"]),
        ({"platform": "fcm", "token": 7}, ["token"]),
        ({"platform": "apns", "token": ANDROID}, ["token"]),
        ({"platform": "apns", "token": "abc"}, ["token"]),
        ({"platform": "apns", "token": IOS + "\n"}, ["token"]),
        ({"platform": "fcm", "token": ANDROID, "user": "x"}, ["user"]),
    ],
)
async def test_what_is_refused(api: httpx.AsyncClient, document: dict[str, Any], named: list[str]) -> None:
    assert fields(await api.put("/v1/users/ada/devices", json=document)) == named


@pytest.mark.parametrize("user_id", ["x" * 201, "a%00b", "a%7Fb"])
async def test_a_user_id_that_cannot_be(api: httpx.AsyncClient, user_id: str) -> None:
    assert [name for name, _ in problem(await put(api, user_id, "fcm", ANDROID), 422, "invalid")] == [
        "user_id"
    ]


async def test_the_longest_token_fits_the_index(api: httpx.AsyncClient) -> None:
    token = "".join(
        Random(1).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", k=2000)
    )
    assert (await put(api, "ada", "fcm", token)).status_code == 200
    assert (await api.delete(f"/v1/users/ada/devices/{token}")).status_code == 204
    assert await tokens(api, "ada") == []
