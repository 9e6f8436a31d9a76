"""docs/api.md lists the routes that there are."""

from tests.outbox.api.openapi.routes_table import BEGIN, END, PAGE, written


def test_the_table_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    assert page == written(page), "run: python -m tests.outbox.api.openapi.routes_table"
