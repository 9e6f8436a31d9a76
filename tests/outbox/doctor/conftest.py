"""What a check may take is tried where it matters; the machine that tests run on may be slow."""

import pytest


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outbox.doctor.examine.REACH_SECONDS", 60.0)
    monkeypatch.setattr("outbox.doctor.examine.CHECK_SECONDS", 60.0)
    monkeypatch.setattr("outbox.doctor.listening.HEARD_WITHIN_SECONDS", 60.0)
