"""An e-mail channel's config → who writes, who carries the mail, where bounces go, what may be unsubscribed from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from typing import Any

from outbox.errors import SettingsError
from outbox.settings import resolve
from workers.common import Common
from workers.gathering import Coming
from workers.message import Letter, sender
from workers.offer import Offer, offer
from workers.providers import Maker, Provider, Providers, chain
from workers.recipient_rate import RecipientRate, recipient_rate
from workers.seal import seal
from workers.sendgrid import SendGrid, account
from workers.smtp import Mailer, parse, plain

KEYS = frozenset({"from", "smtp_url", "providers", "bounce_address", "dkim", "unsubscribe", "recipient_rate"})
# RFC 5321 §4.5.3.1.1 allows 64 octets before the @, and "+" with the token takes 43.
BOUNCE_ADDRESS = re.compile(r"[A-Za-z0-9_.-]{1,21}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
# Lanes of a provider that takes many letters at a time hold two batches: one gathers while one is on its way.
BATCHES_HELD = 2


@dataclass(frozen=True, slots=True)
class Post:
    """What a config makes. `batched`: how many letters a lane must hold to fill batches; 0 where nobody takes any."""

    sender: Address
    providers: Providers[Letter]
    offer: Offer
    bounce_address: str | None
    batched: int
    recipient_rate: RecipientRate

    async def close(self) -> None:
        await self.providers.close()


def read(config: Mapping[str, Any], common: Common, budget: float, coming: Coming) -> Post:
    """`coming` counts the letters that are being written. Raises SettingsError."""
    if unknown := config.keys() - KEYS:
        raise SettingsError(
            f"{min(unknown)!r} is no key of an e-mail channel's config; known: {', '.join(sorted(KEYS))}"
        )
    if not isinstance(config.get("from"), str):
        raise SettingsError("from is missing in the config of the e-mail channel")
    origin = sender(config["from"])
    made = chain(whole(config), makers(config, origin, coming), common, budget)
    return Post(
        sender=origin,
        providers=made,
        offer=offer(config.get("unsubscribe", True)),
        bounce_address=bounce_address(config.get("bounce_address")),
        batched=max(batched(provider) for provider in made.providers),
        recipient_rate=recipient_rate(config, common),
    )


def whole(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`"smtp_url": …` is short for a single provider."""
    if "providers" in config or not isinstance(config.get("smtp_url"), str):
        return config
    return {**config, "providers": [{"type": "smtp", "url": config["smtp_url"]}]}


def makers(config: Mapping[str, Any], origin: Address, coming: Coming) -> dict[str, Maker[Letter]]:
    """By type. The DKIM keys are the channel's, for providers that do not sign by themselves."""
    signed = seal(config["dkim"], origin.domain) if config.get("dkim") else plain

    def smtp(name: str, part: Mapping[str, Any], seconds: float) -> Provider[Letter]:
        if not isinstance(part.get("url"), str):
            raise SettingsError('an smtp provider needs its url, like "url": "env:SMTP_URL"')
        return Mailer(parse(resolve(part["url"])), seconds, name, signed)

    def sendgrid(name: str, part: Mapping[str, Any], seconds: float) -> Provider[Letter]:
        return SendGrid(account(part), seconds, name, coming)

    return {"smtp": smtp, "sendgrid": sendgrid}


def batched(provider: Provider[Letter]) -> int:
    return BATCHES_HELD * provider.account.batch if isinstance(provider, SendGrid) else 0


def bounce_address(text: Any) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or not BOUNCE_ADDRESS.fullmatch(text):
        raise SettingsError(
            f"bounce_address={text!r} must be like bounce@bounces.example.com, with at most 21 characters before the @"
        )
    return text
