"""Which layouts a template needs, and which of them a reader gets."""

from typing import Any

from db.pool import Connection
from db.templates import Layout, Template
from outbox.rendering.layouts import fetch, for_reader, languages, referenced


def template(text: str = "", name: str = "t") -> Template:
    return Template("k", name, 1, "", text, "")


def test_literal_names_are_found() -> None:
    source = """{% extends "base" %} {%- include 'foot.er' -%} {% from "macros" import x %} {% import 'm2' as m %}
    {{ "{% extends 'no' %}" }} {% include name %}"""
    assert referenced(template(source)) == {"base", "foot.er", "macros", "m2", "no"}


def test_languages() -> None:
    assert languages("de-AT") == ["de-AT", "de", ""]
    assert languages(None) == [""]


def test_the_nearest_language_wins() -> None:
    layouts = {"base": [Layout("base", locale, template(locale)) for locale in ("", "de", "fr")]}
    found = {locale: for_reader(layouts, locale)["base"]["text"] for locale in ("de-AT", "fr", "pt", None)}
    assert found == {"de-AT": "de", "fr": "fr", "pt": "", None: ""}
    assert for_reader({"base": [Layout("base", "de", template())]}, "fr") == {}


async def test_layouts_of_layouts_are_fetched_in_their_newest_version(admin: Connection) -> None:
    rows: list[Any] = [
        ("base", "email", "", 1, "old"),
        ("base", "email", "", 2, "{% include 'foot' %}"),
        ("base", "email", "de", 1, "deutsch"),
        ("foot", "email", "", 1, "{% include 'base' %}"),
        ("base", "sms", "", 9, "another channel's"),
    ]
    await admin.executemany(
        "INSERT INTO notify.templates (name, channel, locale, version, body_text) VALUES ($1, $2, $3, $4, $5)",
        rows,
    )
    found = await fetch(admin, "email", [template("{% extends 'base' %}{% include 'gone' %}")])
    assert sorted(found) == ["base", "foot", "gone"]
    assert for_reader(found, None)["base"]["text"] == "{% include 'foot' %}"
    assert for_reader(found, "de")["base"]["text"] == "deutsch"
    assert "gone" not in for_reader(found, None)
    assert await fetch(admin, "email", [template("nothing")]) == {}
