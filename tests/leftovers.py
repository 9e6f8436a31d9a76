"""What a failed test has left open ends with it: found later, it would be a fault of the test that runs by then."""

import gc
import sys
import warnings

import pytest

LAST = ("last_exc", "last_type", "last_value", "last_traceback")  # hold on to the frames of what failed last
FAILED: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        FAILED.add(report.nodeid)


def pytest_runtest_logfinish(nodeid: str) -> None:
    if nodeid in FAILED:
        for name in LAST:
            if hasattr(sys, name):
                delattr(sys, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
