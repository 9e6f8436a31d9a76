"""The client for plain code: does what an operation's steps say, by httpx."""

import time
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
from outbox.client.groups import Group, blocking
from outbox.client.steps import Answer, Call, Lost, Pause, Steps
from outbox.client.wire import LOST, Options, Token, TokenSource, answer_of, lost, sendable

T = TypeVar("T")


class Notifications(Group):
    create = blocking(notifications.create)
    create_many = blocking(notifications.create_many)
    get = blocking(notifications.get)
    page = blocking(notifications.page)
    wait = blocking(notifications.wait)
    cancel = blocking(notifications.cancel)


class Users(Group):
    preferences = blocking(users.preferences)
    set_preferences = blocking(users.set_preferences)
    devices = blocking(users.devices)
    register_device = blocking(users.register_device)
    remove_device = blocking(users.remove_device)


class Inbox(Group):
    page = blocking(inbox.page)
    count = blocking(inbox.count)
    mark = blocking(inbox.mark)
    mark_all = blocking(inbox.mark_all)


class Recipients(Group):
    get = blocking(recipients.get)
    put = blocking(recipients.put)
    remove = blocking(recipients.remove)


class Channels(Group):
    all = blocking(channels.all_)
    get = blocking(channels.get)
    add = blocking(channels.add)
    change = blocking(channels.change)
    remove = blocking(channels.remove)


class Templates(Group):
    in_force = blocking(templates.in_force)
    versions = blocking(templates.versions)
    publish = blocking(templates.publish)
    restore = blocking(templates.restore)
    preview = blocking(templates.preview)
    test = blocking(templates.try_on)


class DeadLetters(Group):
    page = blocking(dead_letters.page)
    count = blocking(dead_letters.count)
    redrive = blocking(dead_letters.redrive)
    discard = blocking(dead_letters.discard)


class Suppressions(Group):
    page = blocking(suppressions.page)
    add = blocking(suppressions.add)
    remove = blocking(suppressions.remove)


class Statistics(Group):
    count = blocking(statistics.count)
    now = blocking(statistics.now)


class Client:
    """One pool of connections to the API; share it between threads, and close it or use it in `with`.

    `token` may be a function, which is asked before each request, so that it can give a fresh one.
    """

    def __init__(self, url: str, token: Token, options: Options = Options()) -> None:  # noqa: B008 - frozen
        self.retry = options.retry
        self._source = TokenSource(token, options.trace)
        self._http = httpx.Client(base_url=url, timeout=options.timeout)
        self.notifications = Notifications(self)
        self.users = Users(self)
        self.inbox = Inbox(self)
        self.recipients = Recipients(self)
        self.channels = Channels(self)
        self.templates = Templates(self)
        self.dead_letters = DeadLetters(self)
        self.suppressions = Suppressions(self)
        self.statistics = Statistics(self)

    def run(self, steps: Steps[T], /) -> T:
        told: Answer | Lost | None = None
        try:
            while True:
                match steps.send(told):
                    case Pause(seconds):
                        told = None
                        time.sleep(seconds)
                    case call:
                        told = self._send(call)
        except StopIteration as end:
            value: T = end.value
            return value

    def _send(self, call: Call) -> Answer | Lost:
        request = sendable(self._http, call, self._source)
        try:
            return answer_of(self._http.send(request))
        except LOST as error:
            return lost(error)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
