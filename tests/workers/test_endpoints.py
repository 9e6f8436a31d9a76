"""What a webhook channel's config makes."""

import pytest

from workers.endpoints import hook


@pytest.mark.parametrize("value", ["Bearer s3cret\n", "Bearer s3crét", "s3cret\r\nx-a: b"])
def test_a_header_that_cannot_be_sent_is_told_without_its_value(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HOOK_LOGIN", value)
    made = hook({"url": "https://example.com", "headers": {"authorization": "env:HOOK_LOGIN"}})
    assert made.headers == {}
    assert "authorization, 'env:HOOK_LOGIN', is not printable" in made.trouble
    assert "s3cr" not in made.trouble
