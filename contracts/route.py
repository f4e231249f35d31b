"""The route: the pure fold of facts into states, and whether a unit may start at a process (domain.md, Route)."""

from contracts.refusals import Refusal, RefusalCode
from contracts.route_lot import fold_lot
from contracts.route_start import may_rework, may_start
from contracts.route_unit import fold_unit

__all__ = ["Refusal", "RefusalCode", "fold_lot", "fold_unit", "may_rework", "may_start"]
