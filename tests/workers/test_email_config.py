"""The e-mail channel's config: the short form, the long one, and what is said of a wrong one."""

from typing import Any

import pytest

from outbox.errors import SettingsError
from workers.common import Common
from workers.email_config import read
from workers.gathering import Coming
from workers.sendgrid import SendGrid
from workers.smtp import Mailer

FROM = {"from": "Shop <no-reply@shop.example>"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1:2525")
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.secret")


async def test_the_short_form() -> None:
    post = read(FROM | {"smtp_url": "env:SMTP_URL"}, Common("email"), 10, Coming())
    [provider] = post.providers.providers
    assert isinstance(provider, Mailer)
    assert (provider.name, provider.server.port, provider.budget, post.batched) == (
        "smtp",
        2525,
        9,
        0,
    )
    assert post.bounce_address is None
    await post.close()


async def test_several_providers_in_their_order() -> None:
    config = {
        "providers": [
            {"type": "sendgrid", "key": "env:SENDGRID_API_KEY", "region": "eu", "batch": 50},
            {"type": "smtp", "url": "env:SMTP_URL", "name": "own"},
        ],
        "bounce_address": "bounce@bounces.shop.example",
    }
    post = read(FROM | config, Common("email"), 10, Coming())
    first, second = post.providers.providers
    assert isinstance(first, SendGrid)
    assert isinstance(second, Mailer)
    assert [first.name, second.name] == ["sendgrid", "own"]
    assert post.batched == 100
    await post.close()


SMTP = {"type": "smtp", "url": "env:SMTP_URL"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, 'needs "providers"'),
        ({"providers": []}, 'needs "providers"'),
        ({"providers": ["smtp"]}, 'needs "providers"'),
        ({"providers": [{"type": "pigeon"}]}, "smtp, not 'pigeon'"),
        ({"providers": [{}]}, "not None"),
        ({"providers": [SMTP, SMTP]}, "a name of its own"),
        ({"providers": [{"type": "smtp"}]}, "needs its url"),
        ({"providers": [{"type": "smtp", "url": "smtp://u:hunter2@x"}]}, "write env:NAME"),
        ({"providers": [SMTP], "bounce_address": "bounce"}, "bounce_address='bounce'"),
        ({"providers": [SMTP], "bounce_address": "much-too-long-for-a-token@x.example"}, "at most 21"),
        ({"providers": [SMTP], "bounce_address": "b@x.example>\r\n"}, "bounce_address"),
        ({"providers": [SMTP], "dkim": {"selector": "s"}}, "dkim"),
        ({"providers": [SMTP], "unsubscribe": "no"}, "unsubscribe='no'"),
        ({"providers": [SMTP], "unsubscribe": {"category": []}}, "category"),
        (
            {"providers": [{"type": "sendgrid", "key": "env:SMTP_URL", "ca": "/none"}]},
            "ca='/none' is no file",
        ),
        ({"providers": [{"type": "sendgrid", "key": "env:SMTP_URL", "ca": 1}]}, "ca=1 is no file"),
        ({"providers": [{"type": "sendgrid", "key": "env:SMTP_URL", "region": []}]}, "region"),
        ({"providers": [{"type": "sendgrid", "key": "env:SMTP_URL", "url": "https://["}]}, "url='https://"),
        ({"providers": [SMTP], "form": "x"}, "'form' is no key"),
    ],
)
def test_a_wrong_config_is_told(config: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read(FROM | config, Common("email"), 10, Coming())
    assert "hunter2" not in str(caught.value).replace("'smtp://u:hunter2@x'", "")


def test_from_is_needed() -> None:
    with pytest.raises(SettingsError, match="from is missing"):
        read({"smtp_url": "env:SMTP_URL"}, Common("email"), 10, Coming())
