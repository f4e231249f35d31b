"""Why a person's change is refused: a rule, as things stand (domain.md). Nothing of it is kept then."""

from contracts.errors import NeuroHubError
from contracts.refusals import Refusal


class RefusedError(NeuroHubError):
    """A rule refuses a change. ``code`` names the rule."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class NotThereError(RefusedError):
    """What a change names is not there."""


class RoleError(RefusedError):
    """A rule lets only a higher role do it."""


def refuse(refusal: Refusal | None) -> None:
    """Raises RefusedError where there is a refusal."""
    if refusal is not None:
        raise RefusedError(refusal.code.value, refusal.detail)
