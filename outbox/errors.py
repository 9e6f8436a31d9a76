"""The errors a caller can act on. Foreign errors are translated into these at the edge that meets them."""


class OutboxError(Exception):
    """The root: everything raised on purpose."""


class InvalidNotificationError(OutboxError):
    """The notification breaks a rule. `field` names it, `rule` says what is asked. Mend it; do not retry."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class SettingsError(OutboxError):
    """A setting is missing or wrong. The message names key and value."""


class UndecodableEntryError(OutboxError):
    """A stream entry that is no envelope of a version known here."""


class UnauthenticatedError(OutboxError):
    """No token, or one that does not hold. The message says why, without the token."""
