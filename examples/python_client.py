"""Sends a notification over HTTP and waits until it has come to its end.

OUTBOX_TOKEN="$(.venv/bin/outbox token --user shop --scope producer)" .venv/bin/python examples/python_client.py
"""

import os
import sys

from outbox.client import Client, InvalidRequestError

URL = os.environ.get("OUTBOX_API_URL", "http://127.0.0.1:8080")


def main() -> int:
    with Client(URL, os.environ["OUTBOX_TOKEN"]) as client:
        try:
            sent = client.notifications.create(
                event_type="order.paid", user_id="alice", payload={"title": "Order 1 is paid"}
            )
        except InvalidRequestError as error:
            for field in error.errors:
                print(f"{field.field}: {field.detail}", file=sys.stderr)  # noqa: T201 - an example
            return 1
        seen = client.notifications.wait(sent.id, seconds=20)
        print(f"{sent.id}: {seen.status}")  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
