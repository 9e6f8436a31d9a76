"""An OAuth access token of a Google service account: kept, and fetched anew by google-auth in a thread.

google-auth directly, not by way of pyfcm: that reads credentials from a file only, turns every failure into one
error, and gives the request no time of its own.
"""

import asyncio
import functools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials

from outbox.errors import SettingsError
from workers.outcome import Transient, clean

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
FETCH_SECONDS = 10.0
# After a failure everybody gets the same answer for so long: Google is not asked once for each notification.
PAUSE_SECONDS = 5.0


def credentials(secret: str) -> Credentials:
    """From a service account's key: the JSON itself, or the path of its file. Raises SettingsError, without either."""
    try:
        text = secret if secret.lstrip().startswith("{") else Path(secret).read_text(encoding="utf-8")
        made: Credentials = Credentials.from_service_account_info(json.loads(text), scopes=[SCOPE])  # type: ignore[no-untyped-call]  # google-auth has no annotations
    except (OSError, ValueError, GoogleAuthError) as error:
        raise SettingsError(
            f"FCM's credentials are no service account key, nor the path of one: {type(error).__name__}"
        ) from None
    return made


@dataclass(slots=True)
class Access:
    """`ca`: as for the requests themselves."""

    credentials: Credentials
    ca: str | None = None
    direct: bool = False
    _fetching: "asyncio.Task[str | Transient] | None" = None
    _failed: tuple[float, Transient] | None = None
    _session: requests.Session = field(default_factory=requests.Session)

    async def token(self, ends: float, refused: str | None = None) -> str | Transient:
        """A token that holds, other than the `refused` one."""
        credentials: Any = self.credentials
        if credentials.valid and credentials.token != refused:
            return str(credentials.token)
        if self._failed and time.monotonic() < self._failed[0]:
            return self._failed[1]
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch())
        fetching = self._fetching
        try:
            async with asyncio.timeout_at(ends):
                await asyncio.wait({fetching})
        except TimeoutError:
            return Transient("timeout", "Google gave no access token in time")
        if fetching.cancelled():  # by close(); to be raised here, it would be taken for the attempt's own
            return Transient("connection", "the config was replaced before Google gave an access token")
        return fetching.result()

    async def _fetch(self) -> str | Transient:
        self._session.verify, self._session.trust_env = self.ca or True, not self.direct
        request = functools.partial(Request(self._session), timeout=FETCH_SECONDS)
        try:
            await asyncio.to_thread(self.credentials.refresh, request)
        except GoogleAuthError as error:
            kind = "connection" if isinstance(error, TransportError) else "auth"
            reason = clean(f"Google gave no access token: {error.args[0] if error.args else ''}")
            failed = Transient(kind, reason, sends=0)
            self._failed = time.monotonic() + PAUSE_SECONDS, failed
            return failed
        self._failed = None
        return str(self.credentials.token)

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        self._session.close()
