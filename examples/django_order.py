"""A producer with Django: the order and its notification commit together, or not at all.

`Order` and `pay` are what a project has, too; the rest makes one file a project. Run it against a
database that has the schema (`outbox migrate`); `make up` prints such a URL:

    DATABASE_URL=postgresql://… python examples/django_order.py
"""

import os
import sys
from decimal import Decimal
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.db import connection, models, transaction

import outbox


def database(url: str) -> dict[str, str]:
    """As Django's DATABASES has it."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }


# A project has these in its settings.py.
settings.configure(DATABASES={"default": database(os.environ["DATABASE_URL"])})
django.setup()


class Order(models.Model):
    customer = models.CharField(max_length=200)
    total = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        app_label = "shop"
        db_table = "example_orders"


def pay(customer: str, total: Decimal) -> Order:
    """Book a paid order and tell the customer. Commits nothing: the caller's transaction does."""
    order: Order = Order.objects.create(customer=customer, total=total)
    outbox.enqueue_sync(
        connection.connection,  # psycopg 3's own, in Django's transaction
        event_type="order.paid",
        user_id=customer,
        payload={"title": f"Order {order.pk} is paid", "total": str(total)},
        dedup_key=f"order:{order.pk}:paid",
    )
    return order


def main() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Order)

    with transaction.atomic():
        order = pay("u-1", Decimal("12.50"))
    sys.stdout.write(f"committed: order {order.pk} and its notification\n")

    with transaction.atomic():
        order = pay("u-1", Decimal("99.00"))
        transaction.set_rollback(True)
    sys.stdout.write(f"rolled back: neither order {order.pk} nor a notification\n")
    connection.close()


if __name__ == "__main__":
    main()
