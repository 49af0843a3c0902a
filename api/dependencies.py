"""What endpoints ask for: the settings, the database, and sessions that end with the endpoint."""

import threading
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from api.db import Database
from api.settings import Settings

SPACES_LOCK = threading.Lock()
"""Held while networks are built: the memo of a space, and what a predictor remembers, belong to one thread."""


def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


SettingsOf = Annotated[Settings, Depends(get_settings)]
DatabaseOf = Annotated[Database, Depends(get_database)]


def read_session(database: DatabaseOf) -> Iterator[Session]:
    with database.read() as session:
        yield session


def write_session(database: DatabaseOf) -> Iterator[Session]:
    with database.write() as session:
        yield session


# scope "function": committed before the answer is sent, so what was answered is true
ReadSession = Annotated[Session, Depends(read_session, scope="function")]
WriteSession = Annotated[Session, Depends(write_session, scope="function")]

PageSize = Annotated[int, Query(ge=1, le=500)]
PageToken = Annotated[str | None, Query(max_length=1000)]
