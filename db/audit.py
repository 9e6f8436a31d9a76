"""The audit log: what administrators did. Written in the transaction of the act, read by the API."""

from dataclasses import dataclass

from db.pool import Executor
from db.statements import load

SQL = load("audit")


@dataclass(frozen=True, slots=True)
class Act:
    """A row to be. `detail` is a JSON object."""

    actor: str
    via: str
    action: str
    target: str
    detail: str
    request_id: str | None


async def record(executor: Executor, act: Act) -> None:
    facts = (act.actor, act.via, act.action, act.target, act.detail, act.request_id)
    await executor.execute(SQL["record"], *facts)
