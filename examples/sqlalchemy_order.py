"""A producer with SQLAlchemy's asyncio session: the order and its notification commit together, or not at all.

Run it against a database that has the schema (`outbox migrate`); `make up` prints such a URL:

    DATABASE_URL=postgresql://… python examples/sqlalchemy_order.py
"""

import asyncio
import os
import sys
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import outbox


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "example_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    total: Mapped[Decimal]


async def pay(session: AsyncSession, customer: str, total: Decimal) -> Order:
    """Book a paid order and tell the customer. Commits nothing: the caller's transaction does."""
    order = Order(customer=customer, total=total)
    session.add(order)
    await session.flush()  # gives the order its id
    await outbox.enqueue(
        session,
        event_type="order.paid",
        user_id=customer,
        payload={"title": f"Order {order.id} is paid", "total": str(total)},
        dedup_key=f"order:{order.id}:paid",
    )
    return order


async def main() -> None:
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url)
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)

    async with AsyncSession(engine) as session, session.begin():
        order = await pay(session, "u-1", Decimal("12.50"))
        sys.stdout.write(f"committed: order {order.id} and its notification\n")

    async with AsyncSession(engine) as session:
        order = await pay(session, "u-1", Decimal(99))
        sys.stdout.write(f"rolled back: neither order {order.id} nor a notification\n")
        await session.rollback()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
