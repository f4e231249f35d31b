"""``/product-models``: what is made."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Response
from pydantic import Field

from central.api.changes import Change, Create
from central.api.current import CurrentService, needs
from central.api.errors import answers, not_found
from central.api.models import Body, Code, Out, Text, Whole
from central.api.paging import Id, Page
from central.store import product_models
from central.store.users import Role

router = APIRouter(prefix="/product-models", tags=["product-models"], responses=answers())
READ, WRITE, DELETE = [needs(Role.OPERATOR)], [needs(Role.MANAGER)], [needs(Role.ADMIN)]


class ModelStatus(StrEnum):
    """Whether it is made: now, for the time being not, never again."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    DISCONTINUED = "DISCONTINUED"


ModelCode = Annotated[Code, Field(examples=["WF-SUIT-M"])]
ModelName = Annotated[Text, Field(min_length=1, max_length=255, examples=["Wearable robot, size M"])]


class ProductModelCreate(Body):
    """A new product model."""

    model_code: ModelCode
    model_name: ModelName
    category: Annotated[Text, Field(max_length=100)] | None = None
    production_cycle_days: Whole | None = None
    specifications: dict[str, Any] = Field(default_factory=dict, examples=[{"size": "M"}])
    status: ModelStatus = ModelStatus.ACTIVE


class ProductModelUpdate(Body):
    """What of a product model changes; what is left out stays."""

    model_code: ModelCode = ""
    model_name: ModelName = ""
    category: Annotated[Text, Field(max_length=100)] | None = None
    production_cycle_days: Whole | None = None
    specifications: dict[str, Any] = Field(default_factory=dict)
    status: ModelStatus = ModelStatus.ACTIVE


class ProductModelOut(Out):
    """A product model."""

    id: int
    model_code: str
    model_name: str
    category: str | None
    production_cycle_days: int | None
    specifications: dict[str, Any]
    status: ModelStatus
    created_at: datetime
    updated_at: datetime


def _found(row: sa.RowMapping | None, what: object) -> ProductModelOut:
    if row is None:
        raise not_found("product model", what)
    return ProductModelOut.of(row)


@router.get("", dependencies=READ)
def list_product_models(service: CurrentService, page: Page) -> list[ProductModelOut]:
    """Every product model that is not deleted."""
    with service.store.reading() as connection:
        return ProductModelOut.many(page.of(connection, product_models.listing()))


@router.post("", dependencies=WRITE, status_code=201, response_model=ProductModelOut, responses=answers(409))
def create_product_model(body: ProductModelCreate, change: Create) -> Response:
    """Add a product model."""
    return change.once(
        lambda connection: _found(product_models.create(connection, body.values(), datetime.now(UTC)), "")
    )


@router.get("/active", dependencies=READ)
def list_active(service: CurrentService, page: Page) -> list[ProductModelOut]:
    """Those that are made now."""
    with service.store.reading() as connection:
        return ProductModelOut.many(page.of(connection, product_models.listing(status=ModelStatus.ACTIVE.value)))


@router.get("/category/{category}", dependencies=READ)
def list_category(category: str, service: CurrentService, page: Page) -> list[ProductModelOut]:
    """Those of a category."""
    with service.store.reading() as connection:
        return ProductModelOut.many(page.of(connection, product_models.listing(category=category)))


@router.get("/code/{model_code}", dependencies=READ, responses=answers(404))
def product_model_of_code(model_code: str, service: CurrentService) -> ProductModelOut:
    """The one of a code."""
    with service.store.reading() as connection:
        return _found(product_models.by_code(connection, model_code), model_code)


@router.get("/{id}", dependencies=READ, responses=answers(404))
def product_model(id: Id, service: CurrentService) -> ProductModelOut:
    """One of them."""
    with service.store.reading() as connection:
        return _found(product_models.by_id(connection, id), id)


@router.put("/{id}", dependencies=WRITE, responses=answers(404, 409))
def update_product_model(id: Id, body: ProductModelUpdate, change: Change) -> ProductModelOut:
    """Change what is given."""
    with change.writing() as connection:
        return _found(product_models.update(connection, id, body.values(), datetime.now(UTC)), id)


@router.delete("/{id}", dependencies=DELETE, status_code=204, responses=answers(404))
def delete_product_model(id: Id, change: Change) -> None:
    """Delete it. One that LOTs use keeps its row and is shown no more."""
    with change.writing() as connection:
        if not product_models.delete(connection, id, datetime.now(UTC)):
            raise not_found("product model", id)
