"""The push channel's config: what is wrong with it is said, and holds up no more than it has to."""

from typing import Any

import pytest

from db.push import Platform
from outbox.errors import SettingsError
from outbox.local.doubles.apns import AppleTeam
from outbox.local.doubles.google import ServiceAccount
from workers.apns import SANDBOX_URL, URL, Apns
from workers.fcm import Fcm
from workers.outcome import Transient
from workers.push_config import platforms

TEAM = AppleTeam()
APNS: dict[str, Any] = {"type": "apns", "key": "env:K", "key_id": "I", "team_id": "T", "topic": "com.example"}
FCM = {"type": "fcm", "credentials": "env:C"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", TEAM.p8)
    monkeypatch.setenv("C", ServiceAccount("own").document("https://127.0.0.1:1"))
    monkeypatch.setenv("TOPIC", "com.example.other")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "providers is missing"),
        ({"providers": ["fcm"]}, "no list of objects"),
        ({"providers": [{"type": "smoke"}]}, "must be one of fcm, apns"),
        ({"providers": [FCM, FCM]}, "two providers of one type"),
        ({"providers": [], "collapse": "always"}, "must be notification or template"),
    ],
)
def test_what_is_wrong_for_all(config: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        platforms(config)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"key": None}, "key is missing"),
        ({"key": "-----BEGIN"}, "write env:NAME"),
        ({"key": "env:NO_SUCH"}, "NO_SUCH is not set"),
        ({"key_id": 7}, "must be text"),
        ({"topic": ""}, "topic is missing"),
        ({"sandbox": "yes"}, "must be true or false"),
        ({"url": "http://x"}, "must be like https"),
        ({"ca": "/nowhere.pem"}, "no file of certificates"),
    ],
)
async def test_what_is_wrong_for_one_platform(changed: dict[str, Any], told: str) -> None:
    made = platforms({"providers": [APNS | changed, FCM]})
    trouble = made.of(Platform.APNS)
    assert isinstance(trouble, Transient)
    assert trouble.error_class == "config"
    assert told in trouble.reason
    assert isinstance(made.of(Platform.FCM), Fcm)
    await made.close()


async def test_a_platform_without_a_provider() -> None:
    made = platforms({"providers": [FCM]})
    assert made.of(Platform.APNS) == Transient(
        "config", "the config of channel push has no provider of type apns"
    )
    await made.close()


@pytest.mark.parametrize(("sandbox", "url"), [(True, SANDBOX_URL), (False, URL)])
async def test_sandbox_or_not(sandbox: bool, url: str) -> None:
    made = platforms(
        {"providers": [APNS | {"sandbox": sandbox, "topic": "env:TOPIC"}], "collapse": "template"}
    )
    provider = made.of(Platform.APNS)
    assert isinstance(provider, Apns)
    assert (provider.app.origin.url, provider.app.topic) == (url, "com.example.other")
    assert made.collapse == "template"
    await made.close()


@pytest.mark.parametrize(("project", "expected"), [(None, "own"), ("another", "another")])
async def test_the_project_is_the_key_s_own_unless_said(project: str | None, expected: str) -> None:
    made = platforms({"providers": [FCM | {"project": project}]})
    provider = made.of(Platform.FCM)
    assert isinstance(provider, Fcm)
    assert provider.account.project == expected
    await made.close()
