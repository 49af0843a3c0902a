"""Trials and their measurements in the database."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Float, and_, bindparam, case, delete, insert, null, or_, select, update
from sqlalchemy.orm import Session, selectinload

from api import leases
from api.errors import InvalidQuery, NotFound
from api.leases import Claim
from api.models import Measurement, Trial, utcnow
from api.paging import Page, cut, read_token
from api.store import new_id
from latency_models.estimate import Source
from nas import trial as engine
from nas.objectives import METRICS
from nas.spec import SearchSpec
from search_spaces.errors import nearest


def record_trials(session: Session, claim: Claim, trials: Sequence[engine.Trial]) -> None:
    """Store new versions of trials with their measurements; LeaseLost if the claim no longer holds."""
    leases.progress(session, claim)
    if not trials:
        return
    now = utcnow()
    latest = {trial.number: trial for trial in trials}
    query = select(Trial.number, Trial.id).where(Trial.search_id == claim.id)
    ids = {number: trial_id for number, trial_id in session.execute(query) if number in latest}
    columns = {number: _columns(trial) for number, trial in latest.items()}
    if ids:
        changed = [{"key": ids[number], "updated_at": now, **columns[number]} for number in ids]
        names: dict[str, Any] = {name: bindparam(name) for name in changed[0] if name != "key"}
        table = Trial.__table__
        session.connection().execute(update(table).where(table.c.id == bindparam("key")).values(names), changed)  # type: ignore[arg-type]
        session.execute(delete(Measurement).where(Measurement.trial_id.in_(ids.values())))
    new = sorted(latest.keys() - ids.keys())
    ids |= {number: new_id("t") for number in new}
    if new:
        rows = [{"id": ids[n], "search_id": claim.id, "created_at": now, "updated_at": now, **columns[n]} for n in new]
        session.execute(insert(Trial), rows)
    figures = [row for number, trial in latest.items() for row in _measurement_rows(ids[number], trial)]
    if figures:
        session.execute(insert(Measurement), figures)


def _columns(trial: engine.Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "architecture": trial.architecture,
        "architecture_id": trial.architecture_id,
        "fingerprint": trial.fingerprint,
        "state": trial.state.value,
        "rung": trial.rung,
        "epochs": trial.epochs,
        "proxies": dict(trial.proxies),
        "notes": dict(trial.notes),
        "error": trial.error,
    }


def _measurement_rows(trial_id: str, trial: engine.Trial) -> list[dict[str, Any]]:
    return [
        {
            "trial_id": trial_id,
            "position": position,
            "metric": m.metric,
            "device": m.device,
            "rung": m.rung,
            "value": m.value,
            "error": m.error,
            "source": m.source.value,
        }
        for position, m in enumerate(trial.measurements)
    ]


def as_trial(row: Trial) -> engine.Trial:
    """The engine's trial of a row loaded with its measurements."""
    return engine.Trial(
        number=row.number,
        architecture=row.architecture,
        architecture_id=row.architecture_id,
        fingerprint=row.fingerprint,
        state=engine.TrialState(row.state),
        rung=row.rung,
        epochs=row.epochs,
        proxies=row.proxies,
        measurements=tuple(
            engine.Measurement(m.metric, m.device, m.rung, m.value, m.error, Source(m.source)) for m in row.measurements
        ),
        notes=row.notes,
        error=row.error,
    )


def load_rows(session: Session, search_id: str) -> list[Trial]:
    """Every trial of a search with its measurements, in order of number."""
    query = select(Trial).where(Trial.search_id == search_id).order_by(Trial.number)
    return list(session.scalars(query.options(selectinload(Trial.measurements))))


def load_trials(session: Session, search_id: str) -> list[engine.Trial]:
    """Every trial of a search as the engine knows it, in order of number."""
    return [as_trial(row) for row in load_rows(session, search_id)]


def get_trial(session: Session, trial_id: str) -> Trial:
    """The trial with its measurements and its search; NotFound if there is none."""
    query = select(Trial).where(Trial.id == trial_id)
    row = session.scalar(query.options(selectinload(Trial.measurements), selectinload(Trial.search)))
    if row is None:
        raise NotFound(f"there is no trial {trial_id!r}", hint="GET /v1/searches/{id}/trials lists the trials")
    return row


class Order(NamedTuple):
    """How trials are listed: by number (``metric`` None) or by the best figure known for a metric."""

    metric: str | None = None
    device: str | None = None
    descending: bool = False


def parse_order(text: str, spec: SearchSpec) -> Order:
    """``number``, ``latency_ms``, ``latency_ms@DEVICE``, with a minus in front for descending.

    Raises InvalidQuery for a metric that does not exist or a device that the search does not name.
    """
    descending = text.startswith("-")
    metric, _, device = text.removeprefix("-").partition("@")
    if metric == "number" and not device:
        return Order(descending=descending)
    keys = ["number", *(name for name in METRICS if METRICS[name].kind != "device" or spec.devices)]
    needs_device = metric in METRICS and METRICS[metric].kind == "device"
    if metric not in keys or (device and not needs_device):
        raise InvalidQuery(f"cannot order by {text!r}", hint=nearest(metric, keys), field="order_by")
    if device and device not in spec.devices:
        hint = nearest(device, list(spec.devices))
        raise InvalidQuery(f"the search does not name the device {device!r}", hint=hint, field="order_by")
    if needs_device and not device:
        device = spec.devices[0]
    return Order(metric, device or None, descending)


def list_trials(
    session: Session,
    search_id: str,
    *,
    states: Sequence[str] = (),
    min_rung: int = 0,
    order: Order = Order(),  # noqa: B008 (immutable)
    page_size: int = 50,
    page_token: str | None = None,
) -> Page[Trial]:
    """One page of a search's trials with their measurements; trials without the ordering figure come last.

    Raises InvalidQuery for a token that is not from this list in this order.
    """
    kind = f"trials {search_id} {order.metric} {order.device} {order.descending}"
    value = _best_figure(order)
    inner = select(Trial.id, Trial.number, value.label("value")).where(Trial.search_id == search_id)
    if states:
        inner = inner.where(Trial.state.in_(states))
    if min_rung:
        inner = inner.where(Trial.rung >= min_rung)
    keys = inner.subquery()
    if page_token is not None:
        last_value, last_number = read_token(page_token, kind, (float | None, int))
        seen = _after(keys.c.value, keys.c.number, last_value, last_number, order)
        page = select(keys).where(seen)
    else:
        page = select(keys)
    flip = order.descending
    rank = keys.c.value.desc() if flip else keys.c.value.asc()
    number = keys.c.number.desc() if flip and order.metric is None else keys.c.number.asc()
    # "is NULL" as a key of its own: databases differ in where they sort NULL
    page = page.order_by(case((keys.c.value.is_(None), 1), else_=0), rank, number).limit(page_size + 1)
    found = cut(session.execute(page).all(), page_size, kind, lambda row: (row.value, row.number))
    ids = [row.id for row in found.items]
    rows = session.scalars(select(Trial).where(Trial.id.in_(ids)).options(selectinload(Trial.measurements)))
    by_id = {row.id: row for row in rows}
    return Page([by_id[trial_id] for trial_id in ids], found.next_page_token)


def _best_figure(order: Order) -> ColumnElement[Any]:
    """The value that ``Trial.find`` picks: measured before predicted, then the highest rung."""
    if order.metric is None:
        return null().cast(Float)
    where = [Measurement.trial_id == Trial.id, Measurement.metric == order.metric]
    if order.device is not None:
        where.append(Measurement.device == order.device)
    measured = case((Measurement.source == Source.MEASURED.value, 0), else_=1)
    best = select(Measurement.value).where(*where).order_by(measured, Measurement.rung.desc(), Measurement.position)
    return best.limit(1).correlate(Trial).scalar_subquery()


def _after(
    value: ColumnElement[Any],
    number: ColumnElement[Any],
    last_value: float | None,
    last_number: int,
    order: Order,
) -> ColumnElement[bool]:
    number_after = number < last_number if order.descending and order.metric is None else number > last_number
    if last_value is None:
        return and_(value.is_(None), number_after)
    beyond = value < last_value if order.descending else value > last_value
    return or_(beyond, and_(value == last_value, number_after), value.is_(None))
