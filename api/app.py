"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from api import handlers
from api.body_limit import BodyLimit
from api.db import open_database
from api.routes import agents, catalogue, estimates, exports, health, pages, searches, spaces, trials
from api.schemas import ErrorOut
from api.settings import Settings

STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application on the database of the settings (from the environment by default)."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.database = open_database(settings.url)
        yield
        app.state.database.close()

    app = FastAPI(
        title="Hardware-aware neural architecture search",
        version="1",
        lifespan=lifespan,
        responses={"4XX": {"model": ErrorOut}, "5XX": {"model": ErrorOut}},
    )
    app.state.settings = settings
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    handlers.install(app)
    for module in (health, searches, trials, exports, spaces, agents, estimates, catalogue, pages):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
