"""The application: every router, what stands around it, and the document that describes it."""

from importlib import import_module

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from central.api import errors
from central.api.bodies import Bodies
from central.api.current import Service
from central.api.feed import Feed
from central.api.metrics import CONTENT_TYPE, Metrics
from central.api.rate import Rate
from central.api.remembered import Remembered
from central.api.requests import Requests
from central.api.settings import ApiSettings, load_api_settings
from central.settings import PermitSettings, load_settings
from central.shifts import ShiftCalendar
from central.store import Store
from contracts.serial_form import SerialForm
from messaging.logs import configure_logging

ROUTERS = (
    "auth",
    "users",
    "product_models",
    "processes",
    "lots",
    "serials",
    "process_data",
    "criteria",
    "interlock",
    "stations",
    "exceptions",
    "holds",
    "containment",
    "alarms",
    "events",
    "quarantine",
    "reconciliation",
    "analytics",
    "statistics",
    "audit_logs",
)
"""Modules of ``central.api.routers``, in the document's order."""
_DOCS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " worker-src blob:; frame-ancestors 'none'"
)


class About(BaseModel):
    """The service's name and version, and where its documentation is."""

    name: str
    version: str
    docs: str


class Health(BaseModel):
    """Whether it answers."""

    status: str
    app: str
    version: str


def create_app(
    store: Store,
    settings: ApiSettings,
    calendar: ShiftCalendar,
    permits: PermitSettings | None = None,
    serial_form: SerialForm | None = None,
) -> FastAPI:
    """The API over this store. The caller closes the store."""
    app = FastAPI(
        title=settings.name,
        version=settings.version,
        debug=False,  # tracebacks stay in the log
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{settings.prefix}/openapi.json",
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.service = Service(store, settings, calendar, permits or PermitSettings(), serial_form or SerialForm())
    app.state.metrics = Metrics(store)
    app.state.figures = Remembered(settings.figures_age_s)
    app.state.feed = Feed(store)
    app.state.login_rate = Rate(settings.logins_per_minute)
    errors.install(app)
    for name in ROUTERS:
        router: APIRouter = import_module(f"central.api.routers.{name}").router
        app.include_router(router, prefix=settings.prefix)
    _add_pages(app, settings)
    app.add_middleware(Bodies, largest=settings.largest_body)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors.origins,
        allow_credentials=settings.cors.credentials,
        allow_methods=settings.cors.methods,
        allow_headers=settings.cors.headers,
        expose_headers=("X-Total-Count", "X-Request-ID", "Idempotency-Replayed", "Retry-After"),
    )
    app.add_middleware(Requests, metrics=app.state.metrics)
    return app


def from_environment() -> FastAPI:
    """The application of a process of its own. Raises SetupError."""
    configure_logging()
    central, settings = load_settings(), load_api_settings()
    store = Store(central.database_url, echo=central.database_echo, lease_s=central.permits.lease_s)
    store.check_schema()
    return create_app(store, settings, central.calendar, central.permits, central.serial_form)


def _add_pages(app: FastAPI, settings: ApiSettings) -> None:
    docs = f"{settings.prefix}/docs"

    @app.get("/", tags=["service"])
    def about() -> About:
        """What this is."""
        return About(name=settings.name, version=settings.version, docs=docs)

    @app.get("/metrics", tags=["service"], response_class=PlainTextResponse, responses={503: errors.ANSWERS[503]})
    def metrics() -> Response:
        """Figures for Prometheus. Without a login: a proxy need not pass it on."""
        return Response(app.state.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/health", tags=["service"])
    def health() -> Health:
        """Whether the service answers."""
        return Health(status="healthy", app=settings.name, version=settings.version)

    assert app.openapi_url is not None
    openapi_url = app.openapi_url

    # The pages' scripts come from here: a factory's network reaches no others.
    scripts = f"{settings.prefix}/docs-scripts"
    app.mount(scripts, StaticFiles(packages=[("fastapi_offline", "static")]))
    icon = f"{scripts}/favicon.png"

    @app.get(docs, include_in_schema=False)
    def swagger() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url=openapi_url,
            title=settings.name,
            swagger_js_url=f"{scripts}/swagger-ui-bundle.js",
            swagger_css_url=f"{scripts}/swagger-ui.css",
            swagger_favicon_url=icon,
        )
        return _page(page)

    @app.get(f"{settings.prefix}/redoc", include_in_schema=False)
    def redoc() -> HTMLResponse:
        page = get_redoc_html(
            openapi_url=openapi_url,
            title=settings.name,
            redoc_js_url=f"{scripts}/redoc.standalone.js",
            redoc_favicon_url=icon,
            with_google_fonts=False,
        )
        return _page(page)


def _page(page: HTMLResponse) -> HTMLResponse:
    page.headers["Content-Security-Policy"] = _DOCS_POLICY
    return page
