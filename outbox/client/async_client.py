"""The client for async code: does what an operation's steps say, by httpx; and the inbox live, by WebSocket."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Self, TypeVar

import httpx

from outbox.client import (
    channels,
    dead_letters,
    inbox,
    notifications,
    recipients,
    statistics,
    suppressions,
    templates,
    users,
)
from outbox.client.groups import AsyncGroup, awaited
from outbox.client.live import Event
from outbox.client.socket import listen
from outbox.client.steps import Answer, Call, Lost, Pause, Steps
from outbox.client.wire import LOST, Options, Token, TokenSource, answer_of, lost, sendable

T = TypeVar("T")


class Notifications(AsyncGroup):
    create = awaited(notifications.create)
    create_many = awaited(notifications.create_many)
    get = awaited(notifications.get)
    page = awaited(notifications.page)
    wait = awaited(notifications.wait)
    cancel = awaited(notifications.cancel)


class Users(AsyncGroup):
    preferences = awaited(users.preferences)
    set_preferences = awaited(users.set_preferences)
    devices = awaited(users.devices)
    register_device = awaited(users.register_device)
    remove_device = awaited(users.remove_device)


class Inbox(AsyncGroup):
    page = awaited(inbox.page)
    count = awaited(inbox.count)
    mark = awaited(inbox.mark)
    mark_all = awaited(inbox.mark_all)


class Recipients(AsyncGroup):
    get = awaited(recipients.get)
    put = awaited(recipients.put)
    remove = awaited(recipients.remove)


class Channels(AsyncGroup):
    all = awaited(channels.all_)
    get = awaited(channels.get)
    add = awaited(channels.add)
    change = awaited(channels.change)
    remove = awaited(channels.remove)


class Templates(AsyncGroup):
    in_force = awaited(templates.in_force)
    versions = awaited(templates.versions)
    publish = awaited(templates.publish)
    restore = awaited(templates.restore)
    preview = awaited(templates.preview)
    test = awaited(templates.try_on)


class DeadLetters(AsyncGroup):
    page = awaited(dead_letters.page)
    count = awaited(dead_letters.count)
    redrive = awaited(dead_letters.redrive)
    discard = awaited(dead_letters.discard)


class Suppressions(AsyncGroup):
    page = awaited(suppressions.page)
    add = awaited(suppressions.add)
    remove = awaited(suppressions.remove)


class Statistics(AsyncGroup):
    count = awaited(statistics.count)
    now = awaited(statistics.now)


class AsyncClient:
    """One pool of connections to the API; share it between tasks, and close it or use it in `async with`.

    `token` may be a function, which is asked before each request, so that it can give a fresh one. `gateway` is
    where `events` listens; left out, the same host serves both.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        gateway: str | None = None,
        options: Options = Options(),  # noqa: B008 - frozen
    ) -> None:
        self.retry = options.retry
        self._source = TokenSource(token, options.trace)
        self._gateway = gateway or url
        self._http = httpx.AsyncClient(base_url=url, timeout=options.timeout)
        self.notifications = Notifications(self)
        self.users = Users(self)
        self.inbox = Inbox(self)
        self.recipients = Recipients(self)
        self.channels = Channels(self)
        self.templates = Templates(self)
        self.dead_letters = DeadLetters(self)
        self.suppressions = Suppressions(self)
        self.statistics = Statistics(self)

    def events(self, cursor: int | None = None) -> AsyncGenerator[Event, None]:
        """The inbox of the token's user, live, without an end: reconnects, and goes on where it was.

        `cursor`: the last seq seen, of any age; left out, it begins with the newest 50. Raises
        UnauthenticatedError and ForbiddenError where the token does not hold. Close it with contextlib.aclosing.
        """
        return listen(self._gateway, self._source.current, cursor)

    async def run(self, steps: Steps[T], /) -> T:
        told: Answer | Lost | None = None
        try:
            while True:
                match steps.send(told):
                    case Pause(seconds):
                        told = None
                        await asyncio.sleep(seconds)
                    case call:
                        told = await self._send(call)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _send(self, call: Call) -> Answer | Lost:
        request = sendable(self._http, call, self._source)
        try:
            return answer_of(await self._http.send(request))
        except LOST as error:
            return lost(error)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
