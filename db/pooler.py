"""Postgres behind a pooler in transaction mode.

There a connection is another one in each transaction. So nothing may outlive one: no prepared statement, no session
setting, no LISTEN. A statement that stands alone takes several messages, between which the pooler may change servers,
so each gets a transaction of its own. (PgBouncer from 1.21 on can carry prepared statements; nothing here needs it to.)
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:  # generic in the stubs only
    Base = asyncpg.Connection[asyncpg.Record]
else:
    Base = asyncpg.Connection


class Pooled(Base):
    """A connection to a pooler. Whatever is asked outside of a transaction gets one of its own."""

    def _pinned(self) -> AbstractAsyncContextManager[Any]:
        return nullcontext() if self.is_in_transaction() else self.transaction()

    async def _alone(self, ask: Callable[..., Any], *args: Any, **options: Any) -> Any:
        async with self._pinned():
            return await ask(*args, **options)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        if not args:  # one message, transaction statements among them
            return await super().execute(query, timeout=timeout)
        async with self._pinned():
            return await super().execute(query, *args, timeout=timeout)

    async def executemany(self, *args: Any, **options: Any) -> Any:
        return await self._alone(super().executemany, *args, **options)

    async def fetch(self, *args: Any, **options: Any) -> Any:
        return await self._alone(super().fetch, *args, **options)

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        return await self._alone(super().fetchrow, *args, **options)

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        return await self._alone(super().fetchval, *args, **options)

    def get_reset_query(self) -> str:
        """Nothing is left behind in a session that could be another's by now."""
        return ""
