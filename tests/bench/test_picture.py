"""The picture of a run is whole SVG that shows what there was."""

from xml.etree import ElementTree

from bench.chaos.driver import Struck
from bench.chaos.picture import picture

SVG = "{http://www.w3.org/2000/svg}"


def test_a_run_becomes_a_picture() -> None:
    struck = [
        Struck("relay_kill", 1001.0, 1001.2),
        Struck("cut", 1002.0, 1002.0),
        Struck("cut", 1003.0, 1003.0),
    ]
    recovery = {"relay_kill": {"p50": 100.0, "max": 2000.0}}
    text = picture("3 faults & <no loss>", struck, [1000.1, 1001.5], [1000.2, 1002.5], recovery)
    root = ElementTree.fromstring(text)
    marks = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "mark"]
    assert len(marks) == len(struck) + 1, "and the one in the legend"
    words = {each.text for each in root.iter(f"{SVG}text")}
    assert {"relay_kill × 1", "cut × 2"} <= words
    widths = {each.get("class"): float(each.get("width", 0)) for each in root.iter(f"{SVG}rect")}
    assert widths["max"] > widths["p50"] > 0


def test_a_run_without_anything_is_a_picture_too() -> None:
    ElementTree.fromstring(picture("nothing", [], [], [], {}))
