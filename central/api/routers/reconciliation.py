"""``/reconciliation``: machines' counters against records, shift by shift."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from central.api.current import CurrentService, needs
from central.api.errors import ApiError, answers
from central.api.periods import Between
from central.store.reconciling import Reconciliation
from central.store.users import Role

router = APIRouter(
    prefix="/reconciliation", tags=["reconciliation"], responses=answers(), dependencies=[needs(Role.MANAGER)]
)
_LONGEST = timedelta(days=92)


class ReconciliationOut(BaseModel):
    """``agrees``: everything the machines made in these shifts is here, once."""

    agrees: bool
    reconciliation: Reconciliation


@router.get("")
def reconcile(
    service: CurrentService, between: Between, station: Annotated[str | None, Query(max_length=32)] = None
) -> ReconciliationOut:
    """Compare counters with records, for every shift that touches this time."""
    if between.until - between.since > _LONGEST:
        detail = f"more than {_LONGEST.days} days: ask for a shorter time"
        raise ApiError(422, "VALIDATION_ERROR", [{"loc": ["query", "end_date"], "msg": detail, "type": "period"}])
    found = service.store.reconcile(service.calendar.between(between.since, between.until), station)
    return ReconciliationOut(agrees=found.agrees, reconciliation=found)
