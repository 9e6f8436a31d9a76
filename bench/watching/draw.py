"""The dashboard's panels, asked of Prometheus and made into pictures by a headless Chromium."""

from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import async_playwright

from bench.watching.chart import Frame
from bench.watching.page import WIDTH, page
from bench.watching.queries import Panel, panels
from bench.watching.server import Prometheus, Series
from tests.browser.chromium import find

POINTS = 240
HEAT_POINTS = 48
# Which rows make a picture.
PICTURES = {
    "dashboard": ("Overview", "Relay"),
    "dashboard-delivery": ("Streams and workers", "Providers"),
    "dashboard-edges": ("Gateway", "API"),
    "dashboard-stores": ("Stores", "Processes"),
}


def rows(every: Sequence[Panel]) -> dict[str, list[Panel]]:
    """Panels by the row they stand under, which is the first of them."""
    made: dict[str, list[Panel]] = {}
    for panel in sorted(every, key=lambda panel: (panel.at[1], panel.at[0])):
        if panel.kind == "row":
            here = made.setdefault(panel.title, [])
        here.append(panel)
    return made


async def draw(
    prometheus: Prometheus, span: tuple[float, float], events: Sequence[tuple[float, str]], folder: Path
) -> None:
    frame, by_row = Frame(0, 0, *span, events), rows(panels())
    answers = {
        target.expr: await asked(prometheus, panel, target.expr, span)
        for panel in panels()
        for target in panel.targets
    }
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        for name, titles in PICTURES.items():
            shown = [panel for title in titles for panel in by_row[title]]
            tab = await browser.new_page(viewport={"width": WIDTH, "height": 400})
            await tab.set_content(page("Outbox", shown, answers, frame))
            await tab.locator("main").screenshot(path=folder / f"{name}.png")
        await browser.close()


async def asked(prometheus: Prometheus, panel: Panel, expr: str, span: tuple[float, float]) -> list[Series]:
    if panel.kind == "table":
        return await prometheus.now(expr, span[1])
    step = (span[1] - span[0]) / (HEAT_POINTS if panel.kind == "heatmap" else POINTS)
    return await prometheus.range(expr, *span, step=max(round(step, 1), 1))
