"""The web pages, rendered on the server. They work without scripts, but for the plot and the refresh."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.templating import Jinja2Templates
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from api import figures, store, trial_store
from api.dependencies import PageToken, ReadSession, SettingsOf
from api.errors import InvalidQuery, NotFound, kind_of
from api.estimate_figures import estimate_figures
from api.estimating import estimate_trial, trial_devices
from api.models import FINISHED, Search, Trial
from api.plot import axes, plot_data
from api.present import present_front_item, present_search, present_trial, spec_of
from nas.front import baselines, front, winner
from nas.spec import SearchSpec
from nas.trial import Trial as EngineTrial
from nas.trial import TrialState
from search_spaces.errors import NasError, nearest

FOLDER = Path(__file__).resolve().parent.parent
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SEARCHES_SHOWN = 25
TRAINED_SHOWN = 12
"""Rows of the table that stands in for the front until there is one."""

STEPS = (("profile", "Profile"), ("explore", "Explore"), ("train", "Train"), ("measure", "Measure"))

router = APIRouter(include_in_schema=False)


def _asset(name: str) -> str:
    """The address of a static file; it changes with the content, so no browser keeps an old one."""
    digest = hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


templates = Jinja2Templates(directory=FOLDER / "pages")
templates.env.trim_blocks = templates.env.lstrip_blocks = True
templates.env.filters["duration"] = figures.duration
templates.env.globals.update(asset=lru_cache(_asset), cell=figures.cell, phase_text=figures.phase_text)
templates.env.filters["space_label"] = figures.space_label
templates.env.globals.update(figures=figures)


@router.get("/", response_class=HTMLResponse)
def searches_page(request: Request, session: ReadSession, page_token: PageToken = None) -> Response:
    """The searches, newest first."""
    try:
        page = store.list_searches(session, page_size=SEARCHES_SHOWN, page_token=page_token)
    except InvalidQuery as error:
        return _error_page(request, error)
    counts = store.count_trials(session, [row.id for row in page.items])
    fronts = _front_sizes(session, page.items)
    rows = [
        {**present_search(row, counts[row.id]).model_dump(), "front_size": fronts.get(row.id, 0)} for row in page.items
    ]
    return _page(
        request, "searches.html", searches=rows, next_page_token=page.next_page_token, first=page_token is None
    )


@router.get("/trials/{trial_id}", response_class=HTMLResponse)
def trial_page(
    request: Request,
    trial_id: str,
    session: ReadSession,
    settings: SettingsOf,
    device: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """One trial: its figures, and what it costs on one of the search's devices, layer by layer."""
    try:
        row = trial_store.get_trial(session, trial_id)
    except NotFound as error:
        return _error_page(request, error)
    trial, spec = trial_store.as_trial(row), spec_of(row.search)
    devices = trial_devices(session, spec)
    if device is not None and device not in devices:
        hint = nearest(device, devices)
        return _error_page(request, InvalidQuery(f"the search names no device {device!r}", hint=hint, field="device"))
    chosen = device or (devices[0] if devices else None)
    item = present_front_item(row.id, trial, spec).model_dump()
    shown: dict[str, Any] = {"found": None, "problem": None}
    if chosen is not None:
        try:
            shown = estimate_figures(estimate_trial(session, settings, spec, trial.architecture, chosen))
        except NasError as error:
            shown["problem"] = error
    return _page(
        request,
        "trial.html",
        trial=present_trial(row, trial, spec),
        search_name=row.search.name,
        item=item,
        columns=figures.front_columns(spec.model_dump(), [item]),
        devices=devices,
        device=chosen,
        **shown,
    )


@router.get("/searches/{search_id}", response_class=HTMLResponse)
def search_page(
    request: Request, search_id: str, session: ReadSession, x: Annotated[str | None, Query(max_length=300)] = None
) -> Response:
    """One search: its progress, its plot, and its front."""
    try:
        row = store.get_search(session, search_id)
        spec = spec_of(row)
        views = axes(spec)
        axis = next((view for view in views if view.key == x), None) if x else views[0]
        if axis is None:
            hint = nearest(x or "", [view.key for view in views])
            raise InvalidQuery(f"a search cannot be plotted along {x!r}", hint=hint, field="x")
    except (NotFound, InvalidQuery) as error:
        return _error_page(request, error)
    rows = trial_store.load_rows(session, search_id)
    ids = {trial_row.number: trial_row.id for trial_row in rows}
    trials = [trial_store.as_trial(trial_row) for trial_row in rows]
    best = front(spec, trials)
    won = winner(spec, trials)
    winner_id = ids[won.number] if won is not None else None
    counts = store.count_trials(session, [search_id])[search_id]
    return _page(
        request,
        "search.html",
        search=present_search(row, counts).model_dump(),
        live=row.state not in FINISHED,
        steps=_steps(row),
        spec_json=json.dumps(row.spec, indent=2),
        axes=views,
        axis=axis,
        plot=plot_data(spec, trials, ids, best, winner_id, axis),
        winner=winner_id,
        **_table(spec, trials, best, ids),
    )


def _table(
    spec: SearchSpec, trials: Sequence[EngineTrial], best: Sequence[EngineTrial], ids: dict[int, str]
) -> dict[str, Any]:
    """The front, or the most accurate trials so far until there is one."""
    shown = list(best)
    if not shown:
        trained = [(m.rung, m.value, t) for t in trials if (m := t.find("accuracy")) is not None]
        shown = [t for *_, t in sorted(trained, key=lambda entry: (-entry[0], -entry[1], entry[2].number))]
    items = [present_front_item(ids[t.number], t, spec).model_dump() for t in shown[: len(best) or TRAINED_SHOWN]]
    behind = [t for t in baselines(trials) if best and t not in best and t.find("accuracy") is not None]
    beside = [present_front_item(ids[t.number], t, spec).model_dump() for t in behind]
    epochs = {ids[t.number]: t.epochs for t in shown}
    return {
        "items": items,
        "behind": beside,
        "columns": figures.front_columns(spec.model_dump(), [*items, *beside]),
        "is_front": bool(best),
        "epochs": epochs,
        "trained": len(shown) if not best else None,
    }


def _steps(row: Search) -> list[tuple[str, str]]:
    """The phases of a search, each with "done", "now" or "todo"."""
    names = [name for name, _ in STEPS]
    current = names.index(row.phase) if row.phase in names else -1
    if row.state == "SUCCEEDED":
        current = len(names)
    states = ["done" if i < current else "now" if i == current else "todo" for i in range(len(names))]
    return list(zip((title for _, title in STEPS), states, strict=True))


def _front_sizes(session: Session, searches: Sequence[Search]) -> dict[str, int]:
    """The number of points on the front of each search that has one."""
    query = select(Trial).where(
        Trial.search_id.in_([search.id for search in searches]), Trial.state == TrialState.SUCCEEDED.value
    )
    finished: dict[str, list[EngineTrial]] = {}
    for row in session.scalars(query.options(selectinload(Trial.measurements))):
        finished.setdefault(row.search_id, []).append(trial_store.as_trial(row))
    return {s.id: len(front(spec_of(s), finished[s.id])) for s in searches if s.id in finished}


def _page(request: Request, name: str, *, status: int = 200, **values: Any) -> Response:
    return templates.TemplateResponse(request, name, values, status_code=status, headers=HEADERS)


def _error_page(request: Request, error: NasError) -> Response:
    status = kind_of(error).status
    return _page(request, "error.html", status=status, code=status, message=error.message, hint=error.hint)
