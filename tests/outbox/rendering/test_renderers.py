"""Templates: what they may do, and that they neither reach the system nor hang a worker."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from db.templates import Template
from outbox.rendering.renderers import Rendered, Renderers, Starved, Unrenderable

VARIABLES: dict[str, Any] = {
    "event_type": "order.paid",
    "payload": {"title": "Paid", "items": [1, 2], "html": "<b>&</b>", "n": 5},
}


@pytest.fixture
async def renderers() -> AsyncIterator[Renderers]:
    made = Renderers()
    yield made
    await made.close()


def template(text: str = "", subject: str = "", html: str = "", key: str = "k") -> Template:
    return Template(key, "welcome", 3, subject, text, html)


async def text_of(renderers: Renderers, source: str) -> str:
    rendered = await renderers.render(template(source), VARIABLES)
    assert isinstance(rendered, Rendered), rendered
    return rendered.text


async def refusal(renderers: Renderers, source: str) -> str:
    rendered = await renderers.render(template(source), VARIABLES)
    assert isinstance(rendered, Unrenderable), rendered
    return rendered.reason


async def test_three_parts_and_only_html_is_escaped(renderers: Renderers) -> None:
    source = "{{ payload.html }}"
    assert await renderers.render(template(source, source, source), VARIABLES) == Rendered(
        "<b>&</b>", "<b>&</b>", "&lt;b&gt;&amp;&lt;/b&gt;"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ payload.missing or event_type }}", "order.paid"),
        ("{% if payload.missing %}yes{% else %}no{% endif %}", "no"),
        ("{{ payload.missing | default('x') }}", "x"),
        ("{% if payload.missing == 'a' %}a{% else %}b{% endif %}", "b"),
        ("{% for item in payload['items'] %}{{ item }},{% endfor %}", "1,2,"),
        ("{{ '%05.2f' | format(payload.n) }}", "05.00"),
        ("{{ 'ab' * 3 }}{{ 2 ** 10 }}{{ 7 % 4 }}", "ababab10243"),
        ("{{ 'a' | center(5) }}|{{ 'a\nb' | indent(2) }}", "  a  |a\n  b"),
    ],
)
async def test_what_templates_may_do(renderers: Renderers, source: str, expected: str) -> None:
    assert await text_of(renderers, source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("one\n{{ payload.missing }}", "template 'welcome' version 3, text line 2: 'dict object' has no"),
        ("{{ nothing }}", "text line 1: 'nothing' is undefined"),
        ("{{ payload.missing.deeper }}", "has no attribute 'missing'"),
        ("a\nb\n{% if %}", "text line 3: Expected an expression"),
        ("{{ payload.title + 1 }}", "text line 1: TypeError"),
        ("{% for x in payload.missing %}{% endfor %}", "has no attribute 'missing'"),
        ("{% include 'x' %}", "text line 1: there is no template 'x'"),
    ],
)
async def test_a_mistake_is_named_with_its_line(renderers: Renderers, source: str, expected: str) -> None:
    assert expected in await refusal(renderers, source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ payload.__class__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ payload.update({'a': 1}) }}",
        "{{ (''|attr('format')).__self__ }}",
        "{{ self.__init__.__globals__ }}",
    ],
)
async def test_the_way_to_the_system_is_shut(renderers: Renderers, source: str) -> None:
    assert await refusal(renderers, source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 300000000 }}",
        "{{ [0] * 300000000 }}",
        "{{ 10 ** (10 ** 9) }}",
        "{{ '%300000000d' % 1 }}",
        "{{ '%*d' % (300000000, 1) }}",
        "{{ '%300000000d' | format(1) }}",
        "{{ 'a' | center(300000000) }}",
        "{{ 'a\nb' | indent(300000000, true) }}",
        "{{ 'a'.ljust(300000000) }}",
        "{{ '{:>300000000}'.format(1) }}",
        "{{ range(300000000) | list }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(90000) %}0123456789{% endfor %}",
        "{% set n = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set ns = namespace(x=99) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "x" * 70_000,
    ],
)
async def test_cost_is_bounded(renderers: Renderers, source: str) -> None:
    """Each ends soon, with a reason; and the next message is rendered as if nothing had been."""
    async with asyncio.timeout(60):  # of processor time it has some two seconds
        assert "template 'welcome' version 3" in await refusal(renderers, source)
    assert await text_of(renderers, "{{ payload.title }}") == "Paid"


async def test_a_hanging_template_delays_only_its_like(renderers: Renderers) -> None:
    hanging = template(
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", key="bad"
    )
    assert isinstance(await renderers.render(hanging, VARIABLES), Unrenderable)
    slow = [asyncio.create_task(renderers.render(hanging, VARIABLES)) for _ in range(20)]
    good = template("{{ payload.title }}", key="good")
    for _ in range(20):
        assert isinstance(await renderers.render(good, VARIABLES), Rendered)
    assert not all(task.done() for task in slow), "the good ones did not wait for the hanging ones"
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


async def test_a_renderer_that_was_killed_is_replaced(renderers: Renderers) -> None:
    assert await text_of(renderers, "a") == "a"
    child = renderers.swift._child
    assert child is not None
    child.kill()
    await child.wait()
    assert await text_of(renderers, "b") == "b"


async def test_a_cancelled_request_leaves_no_answer_for_the_next(renderers: Renderers) -> None:
    assert await text_of(renderers, "a") == "a"
    task = asyncio.create_task(renderers.render(template("{{ payload.title }}"), VARIABLES))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await text_of(renderers, "b") == "b"


async def test_a_complaint_is_not_as_long_as_what_it_is_about(renderers: Renderers) -> None:
    assert len(await refusal(renderers, "{{ payload." + "a" * 50_000 + " }}")) < 2_000


async def test_a_child_that_was_frozen_is_no_fault_of_the_template(
    renderers: Renderers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await text_of(renderers, "a") == "a"
    child = renderers.swift._child
    assert child is not None
    child.send_signal(signal.SIGSTOP)
    monkeypatch.setattr("outbox.rendering.renderers.ANSWER_SECONDS", 0.2)
    assert await renderers.render(template("b"), VARIABLES) == Starved()
    monkeypatch.undo()
    assert await text_of(renderers, "c") == "c"


LAYOUTS = {
    "base": {
        "subject": "[shop] {% block subject %}{% endblock %}",
        "text": "Hello\n{% block body %}{% endblock %}\n{% include 'footer' %}",
        "html": "<main>{% block body %}{% endblock %}</main>{{ payload.html }}",
    },
    "footer": {"subject": "", "text": "-- {{ event_type }}", "html": ""},
    "broken": {"subject": "", "text": "a\nb\n{{ payload.none.x }}{% block body %}{% endblock %}", "html": ""},
    "itself": {"subject": "", "text": "{% extends 'itself' %}", "html": ""},
}


async def test_each_part_extends_the_layouts_same_part(renderers: Renderers) -> None:
    body = "{% extends 'base' %}{% block body %}{{ payload.html }}{% endblock %}"
    subject = "{% extends 'base' %}{% block subject %}{{ payload.title }}{% endblock %}"
    rendered = await renderers.render(template(body, subject, body), VARIABLES, LAYOUTS)
    assert rendered == Rendered(
        "[shop] Paid",
        "Hello\n<b>&</b>\n-- order.paid",
        "<main>&lt;b&gt;&amp;&lt;/b&gt;</main>&lt;b&gt;&amp;&lt;/b&gt;",
    )


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{% extends 'nowhere' %}", "text line 1: there is no template 'nowhere' of this channel"),
        ("{% extends 'broken' %}", "text, in 'broken' line 3: 'dict object' has no attribute 'none'"),
        ("{% extends 'itself' %}", "RecursionError"),
    ],
)
async def test_a_mistake_in_a_layout_is_named(renderers: Renderers, source: str, complaint: str) -> None:
    rendered = await renderers.render(template(source), VARIABLES, LAYOUTS)
    assert isinstance(rendered, Unrenderable), rendered
    assert complaint in rendered.reason


async def test_a_changed_layout_is_used_at_once(renderers: Renderers) -> None:
    source = template("{% extends 'base' %}")
    for text in ("one", "two"):
        rendered = await renderers.render(source, VARIABLES, {"base": LAYOUTS["base"] | {"text": text}})
        assert isinstance(rendered, Rendered)
        assert rendered.text == text


async def test_compiled_only(renderers: Renderers) -> None:
    assert await renderers.render(template("{{ payload.missing }}"), None) == Rendered("", "", "")
    refused = await renderers.render(template("{% if %}"), None)
    assert isinstance(refused, Unrenderable)
    assert "text line 1" in refused.reason
