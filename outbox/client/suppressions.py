"""The operations on the suppression list, for administrators. Generators, see steps.py."""

from outbox.client.admin_models import Removed, Suppression, SuppressionPage
from outbox.client.query import query
from outbox.client.retry import Retry
from outbox.client.steps import Call, Steps, ask, reading

PATH = "/v1/suppressions"


def page(
    retry: Retry,
    cursor: str | None = None,
    *,
    limit: int = 100,
    channel: str | None = None,
    address: str | None = None,
) -> Steps[SuppressionPage]:
    """In order of channel and address; `cursor`: the next_cursor of the page before."""
    call = Call("GET", PATH, query(cursor=cursor, limit=limit, channel=channel, address=address))
    return ask(call, reading(SuppressionPage), retry)


def add(retry: Retry, channel: str, address: str, reason: str) -> Steps[Suppression]:
    """One that is there keeps its first reason."""
    body = {"channel": channel, "address": address, "reason": reason}
    return ask(Call("POST", PATH, body=body), reading(Suppression), retry)


def remove(retry: Retry, channel: str, address: str) -> Steps[Suppression | None]:
    """What was there; None where nothing was."""
    call = Call("POST", f"{PATH}:remove", body={"channel": channel, "address": address})
    return ask(call, lambda answer: Removed.model_validate_json(answer.body).removed, retry)
