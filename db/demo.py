"""What the demo of `outbox up` needs in the database: somebody to write to."""

from db.pool import Executor
from db.statements import load

SQL = load("demo")


async def add_recipient(connection: Executor, user_id: str, email: str) -> None:
    await connection.execute(SQL["add_recipient"], user_id, email)
