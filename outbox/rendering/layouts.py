"""What templates extend and include: other templates of their channel, each in the reader's language where it has one.

Names must stand literally (`{% extends "base" %}`): what is needed is fetched before a template is rendered.
"""

import re
from collections.abc import Iterable, Mapping

from db import templates
from db.pool import Executor
from db.templates import Layout, Template

REFERENCE = re.compile(
    r"""\{%[-+]?\s*(?:extends|include|import|from)\s+["']([A-Za-z0-9][A-Za-z0-9_.-]{0,127})["']"""
)
DEPTH = 5  # a layout of a layout of …

Layouts = Mapping[str, list[Layout]]


def referenced(template: Template) -> set[str]:
    return {name for part in parts(template).values() for name in REFERENCE.findall(part)}


def parts(template: Template) -> dict[str, str]:
    return {"subject": template.subject, "text": template.text, "html": template.html}


async def fetch(executor: Executor, channel: str, wanted: Iterable[Template]) -> Layouts:
    """Of these templates, and of their layouts; nothing is asked where nothing is referenced. What is not there is
    left out: rendering names it."""
    found: dict[str, list[Layout]] = {}
    missing = {name for template in wanted for name in referenced(template)}
    for _ in range(DEPTH):
        if not missing:
            break
        layouts = await templates.layouts(executor, channel, missing)
        found |= {name: [each for each in layouts if each.name == name] for name in missing}
        missing = {name for each in layouts for name in referenced(each.template)} - found.keys()
    return found


def for_reader(layouts: Layouts, locale: str | None) -> dict[str, dict[str, str]]:
    """By name, the parts of the one that fits the language best: de-AT, de, any."""
    order = languages(locale)
    chosen = {}
    for name, of_name in layouts.items():
        fitting = [each for each in of_name if each.locale in order]
        if fitting:
            chosen[name] = parts(min(fitting, key=lambda each: order.index(each.locale)).template)
    return chosen


def languages(locale: str | None) -> list[str]:
    return list(dict.fromkeys([locale or "", (locale or "").partition("-")[0], ""]))
