"""The table of routes in docs/api.md, made from the document: `python -m tests.outbox.api.openapi.routes_table`."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from db.pool import Pool
from outbox.api.app import create_app
from outbox.api.contract import Endpoint
from outbox.api.openapi.parameters import plain_path
from outbox.local.doubles.sendgrid_events import Signer
from outbox.probes import Health
from outbox.settings import Settings
from tests.conftest import SECRET
from tests.outbox.api.promises import endpoints

PAGE = Path(__file__).parents[4] / "docs" / "api.md"
BEGIN, END = "<!-- routes: made from the document -->", "<!-- end of routes -->"


def every_endpoint() -> list[Endpoint]:
    """Of an application that is never asked anything, so that it needs no pool."""
    settings = Settings(
        DATABASE_URL="postgresql://x/x",
        REDIS_URL="redis://x",
        env="development",
        jwt_secret=SECRET,
        sendgrid_webhook_keys=[Signer().verification_key],
    )
    return endpoints(create_app(settings, cast("Pool", None), Health()))


def table(every: Iterable[Endpoint]) -> str:
    lines = ["| route | does | for |", "|---|---|---|"]
    for one in sorted(every, key=lambda one: (plain_path(one.path), one.method)):
        scopes = ", ".join(sorted(one.contract.scopes)) or "everybody"
        own = " (a user: the own)" if one.contract.own else ""
        lines.append(f"| `{one.method} {plain_path(one.path)}` | {one.contract.summary} | {scopes}{own} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the table as it is now."""
    made = f"{BEGIN}\n{table(every_endpoint())}\n{END}"
    return re.sub(f"{BEGIN}.*{END}", lambda _: made, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
