"""The push channel's config: which provider serves which platform. None stands in for another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from db.push import Platform
from outbox.errors import SettingsError
from outbox.settings import resolve
from workers import apns, fcm
from workers.apns_token import signer
from workers.http2 import Origin
from workers.outcome import Transient, clean
from workers.providers import Provider, rates_of
from workers.push_message import CollapseBy, Parcel
from workers.rates import Rate


@dataclass(frozen=True, slots=True)
class Platforms:
    """A platform whose provider cannot be used as configured holds up only its own devices."""

    providers: Mapping[Platform, Provider[Parcel] | Transient]
    collapse: CollapseBy
    rates: Mapping[str, Rate]  # by the provider's name

    def of(self, platform: Platform) -> Provider[Parcel] | Transient:
        return self.providers.get(platform) or Transient(
            "config", f"the config of channel push has no provider of type {platform}"
        )

    async def close(self) -> None:
        for provider in self.providers.values():
            if not isinstance(provider, Transient):
                await provider.close()


def platforms(config: Mapping[str, Any]) -> Platforms:
    """Raises SettingsError for what concerns all providers."""
    listed = config.get("providers")
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise SettingsError("providers is missing in the config of channel push, or is no list of objects")
    collapse = config.get("collapse", "notification")
    if collapse not in ("notification", "template"):
        raise SettingsError(
            f"collapse={collapse!r} in the config of channel push must be notification or template"
        )
    kinds = [kind(one) for one in listed]
    if len(set(kinds)) != len(kinds):
        raise SettingsError("the config of channel push has two providers of one type: one serves a platform")
    made = {one: provider(one, config) for one, config in zip(kinds, listed, strict=True)}
    return Platforms(made, collapse, rates_of(listed))


def kind(config: Mapping[str, Any]) -> Platform:
    try:
        return Platform(str(config.get("type")))
    except ValueError:
        known = ", ".join(Platform)
        raise SettingsError(
            f"type={config.get('type')!r} of a provider in the config of channel push must be one of {known}"
        ) from None


def provider(platform: Platform, config: Mapping[str, Any]) -> Provider[Parcel] | Transient:
    try:
        return make_fcm(config) if platform is Platform.FCM else make_apns(config)
    except SettingsError as error:
        return Transient("config", clean(str(error)))


def make_fcm(config: Mapping[str, Any]) -> fcm.Fcm:
    account = fcm.Account.from_config(
        secret(config, "credentials"), optional(config, "project"), origin(config, fcm.URL)
    )
    return fcm.Fcm(account)


def make_apns(config: Mapping[str, Any]) -> apns.Apns:
    sandbox = config.get("sandbox", False)
    if not isinstance(sandbox, bool):
        raise SettingsError("sandbox in the config of APNs must be true or false")
    key = signer(secret(config, "key"), required(config, "key_id"), required(config, "team_id"))
    address = origin(config, apns.SANDBOX_URL if sandbox else apns.URL)
    return apns.Apns(apns.App(required(config, "topic"), key, address))


def origin(config: Mapping[str, Any], url: str) -> Origin:
    given = optional(config, "url")
    return Origin(given or url, optional(config, "ca"), direct=given is not None)


def secret(config: Mapping[str, Any], key: str) -> str:
    """Never in the config itself."""
    return resolve(text(config, key) or missing(key))


def required(config: Mapping[str, Any], key: str) -> str:
    return optional(config, key) or missing(key)


def optional(config: Mapping[str, Any], key: str) -> str | None:
    """As it stands there, or where it says env:NAME."""
    value = text(config, key)
    return resolve(value) if value is not None and value.startswith("env:") else value


def text(config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{key} in the config of a push provider must be text")
    return value


def missing(key: str) -> NoReturn:
    raise SettingsError(f"{key} is missing in the config of a push provider")
