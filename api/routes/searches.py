"""Searches: submit, list, watch, cancel; their trials and their front."""

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response

from api import space_store, store, trial_store
from api.dependencies import SPACES_LOCK, DatabaseOf, PageSize, PageToken, ReadSession, SettingsOf, WriteSession
from api.errors import InvalidQuery
from api.models import SearchState
from api.present import present_baseline, present_front_item, present_search, present_trial, spec_of
from api.profile_store import Profiles
from api.schemas import FrontOut, PageOut, SearchCreated, SearchOut, TrialOut
from latency_models.analytic import analytic_predictor
from nas.admission import check_spec
from nas.front import baselines, front
from nas.spec import SearchSpec
from nas.trial import TrialState

router = APIRouter(prefix="/v1/searches", tags=["searches"])


@router.post("", status_code=202)
def submit_search(
    spec: SearchSpec,
    database: DatabaseOf,
    settings: SettingsOf,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> SearchCreated:
    """Queue a search. The same ``Idempotency-Key`` again gives the same search and starts nothing."""
    with database.read() as session:
        spec = space_store.with_definition(session, spec)
    with SPACES_LOCK:
        profiles = Profiles(database, settings, check_machine=False)
        check_spec(spec, profiles.get, partial(analytic_predictor, own=settings.devices_file), profiles.timer)
    with database.write() as session:  # not open while the check runs, which takes a while
        search = store.create_search(session, spec, idempotency_key=idempotency_key)
    response.headers["Location"] = f"/v1/searches/{search.id}"
    return SearchCreated(id=search.id, state=search.state)


@router.get("")
def list_searches(
    session: ReadSession,
    state: SearchState | None = None,
    page_size: PageSize = 50,
    page_token: PageToken = None,
) -> PageOut[SearchOut]:
    """Searches, newest first."""
    page = store.list_searches(session, state=state, page_size=page_size, page_token=page_token)
    counts = store.count_trials(session, [row.id for row in page.items])
    items = [present_search(row, counts[row.id]) for row in page.items]
    return PageOut(items=items, next_page_token=page.next_page_token)


@router.get("/{search_id}")
def get_search(search_id: str, session: ReadSession) -> SearchOut:
    """One search with its progress."""
    row = store.get_search(session, search_id)
    return present_search(row, store.count_trials(session, [search_id])[search_id])


@router.post("/{search_id}/cancel", status_code=202)
def cancel_search(search_id: str, session: WriteSession) -> SearchOut:
    """Ask a search to stop: at once if it is queued, else as soon as its worker sees it."""
    row = store.request_cancel(session, search_id)
    return present_search(row, store.count_trials(session, [search_id])[search_id])


@router.get("/{search_id}/trials")
def list_trials(
    search_id: str,
    session: ReadSession,
    state: Annotated[list[TrialState] | None, Query()] = None,
    min_rung: Annotated[int, Query(ge=0)] = 0,
    order_by: Annotated[str, Query(max_length=300)] = "number",
    page_size: PageSize = 50,
    page_token: PageToken = None,
) -> PageOut[TrialOut]:
    """The trials of a search, by ``number`` or by a metric (``-accuracy``, ``latency_ms@DEVICE``)."""
    spec = spec_of(store.get_search(session, search_id))
    page = trial_store.list_trials(
        session,
        search_id,
        states=state or (),
        min_rung=min_rung,
        order=trial_store.parse_order(order_by, spec),
        page_size=page_size,
        page_token=page_token,
    )
    items = [present_trial(row, trial_store.as_trial(row), spec) for row in page.items]
    return PageOut(items=items, next_page_token=page.next_page_token)


@router.get("/{search_id}/front")
def get_front(
    search_id: str,
    session: ReadSession,
    rung: Annotated[int | None, Query(ge=0, description="0: the front of the zero-shot scores")] = None,
) -> FrontOut:
    """The Pareto front: of finished, measured trials, or with ``rung=0`` of the zero-shot scores."""
    spec = spec_of(store.get_search(session, search_id))
    last = len(spec.rungs)
    if rung not in (None, 0, last):
        raise InvalidQuery(
            f"rung {rung} has no front: only finished trials are all measured",
            hint=f"leave rung out (the last one, {last}), or 0 for the zero-shot scores",
            field="rung",
        )
    rows = trial_store.load_rows(session, search_id)
    ids = {row.number: row.id for row in rows}
    trials = [trial_store.as_trial(row) for row in rows]
    chosen = front(spec, trials, 0 if rung == 0 else None)
    basis: Literal["measured", "zero_shot_score"] = "zero_shot_score" if rung == 0 else "measured"
    items = [present_front_item(ids[trial.number], trial, spec) for trial in chosen]
    on_front = {trial.number for trial in chosen}
    compared = [
        present_baseline(ids[trial.number], trial, spec, trial.number in on_front) for trial in baselines(trials)
    ]
    return FrontOut(basis=basis, rung=0 if rung == 0 else last, items=items, baselines=compared)
