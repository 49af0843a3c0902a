"""The store on a real SQLite file: leases, recorded trials, orders and pages."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError, StatementError
from support_service import SPACE

from api import leases, processes, space_store, store, trial_store
from api.db import Database, make_engine, open_database
from api.errors import Conflict, InvalidQuery, NotFound
from api.leases import Claim, LeaseLost
from api.models import Export, Search, SearchState, Space, utcnow
from api.trial_store import Order
from latency_models.estimate import Source
from nas.spec import SearchSpec
from nas.trial import Measurement, Trial, TrialState
from search_spaces import SPACES
from search_spaces.definition import SpaceDefinition
from search_spaces.errors import UnknownName

LEASE = 30.0


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied: making its tables takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "empty.sqlite3"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(tmp_path: Path, empty: Path) -> Iterator[Database]:
    opened = Database(make_engine(f"sqlite:///{shutil.copy(empty, tmp_path / 'test.sqlite3')}"))
    yield opened
    opened.close()


def spec(**changes: Any) -> SearchSpec:
    fields = {
        "space": "mobilenet_v2_small",
        "dataset": "digits",
        "objectives": [{"metric": "accuracy"}, {"metric": "latency_ms", "device": "local-onnxruntime"}],
    }
    return SearchSpec.model_validate(fields | changes)


def trial(number: int, **changes: Any) -> Trial:
    return replace(Trial(number, f"arch-{number}", f"id-{number}", f"print-{number}", TrialState.SCORED), **changes)


def new_search(database: Database, **changes: Any) -> str:
    with database.write() as session:
        return store.create_search(session, spec(**changes)).id


def claim(database: Database, owner: str = "worker", attempts: int = 5, table: leases.Job = Search) -> Claim | None:
    with database.write() as session:
        return leases.claim(session, table, owner, LEASE, attempts)


def must_claim(database: Database, owner: str = "worker") -> Claim:
    taken = claim(database, owner)
    assert taken is not None
    return taken


def expire(database: Database, claimed: Claim) -> None:
    with database.write() as session:
        past = utcnow() - timedelta(seconds=1)
        session.execute(update(Search).where(Search.id == claimed.id).values(lease_expires_at=past))


def read(database: Database, search_id: str) -> Search:
    with database.read() as session:
        return store.get_search(session, search_id)


def record(database: Database, claimed: Claim, *trials: Trial) -> None:
    with database.write() as session:
        trial_store.record_trials(session, claimed, trials)


def load(database: Database, search_id: str) -> list[Trial]:
    with database.read() as session:
        return trial_store.load_trials(session, search_id)


# claims and leases


def test_the_oldest_search_is_claimed_first_and_once(database: Database) -> None:
    first, second = new_search(database), new_search(database)
    assert must_claim(database).id == first
    assert must_claim(database).id == second
    assert claim(database) is None
    row = read(database, first)
    assert (row.state, row.owner, row.attempts) == (SearchState.RUNNING, "worker", 1)
    assert row.running_since is not None


def test_of_many_workers_one_gets_the_search(database: Database) -> None:
    new_search(database)
    taken: list[Claim | None] = []
    barrier = threading.Barrier(6)

    def compete(owner: str) -> None:
        barrier.wait(timeout=20)
        taken.append(claim(database, owner))

    threads = [threading.Thread(target=compete, args=(f"worker {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(taken) == 6
    assert sum(c is not None for c in taken) == 1


def test_a_live_lease_is_respected_and_an_expired_one_is_not(database: Database) -> None:
    search_id = new_search(database)
    old = must_claim(database, "first")
    started = read(database, search_id).running_since
    assert claim(database, "second") is None
    expire(database, old)
    new = must_claim(database, "second")
    assert new.id == search_id
    assert new.token != old.token
    assert read(database, search_id).running_since == started  # elapsed time survives the worker


def test_renewing_keeps_the_lease(database: Database) -> None:
    new_search(database)
    held = must_claim(database)
    expire(database, held)
    with database.write() as session:
        assert leases.renew(session, held, LEASE)
    assert claim(database, "second") is None


def test_who_lost_the_lease_writes_nothing(database: Database) -> None:
    search_id = new_search(database)
    old = must_claim(database)
    record(database, old, trial(0))
    expire(database, old)
    must_claim(database)  # even by the same owner
    with database.write() as session:
        assert not leases.renew(session, old, LEASE)
    with pytest.raises(LeaseLost):
        record(database, old, trial(1))
    for action in (leases.release, leases.progress):
        with pytest.raises(LeaseLost), database.write() as session:
            action(session, old)
    with pytest.raises(LeaseLost), database.write() as session:
        leases.finish(session, old, "SUCCEEDED")
    assert [t.number for t in load(database, search_id)] == [0]
    assert read(database, search_id).state == SearchState.RUNNING


def test_a_finished_search_is_never_claimed_again(database: Database) -> None:
    search_id = new_search(database)
    with database.write() as session:
        leases.finish(session, must_claim_in(session), "FAILED", error_code="x", error_message="m", error_hint="h")
    assert claim(database) is None
    row = read(database, search_id)
    assert (row.state, row.error_message, row.owner, row.lease_token) == ("FAILED", "m", None, None)
    assert row.finished_at is not None


def must_claim_in(session: Any) -> Claim:
    taken = leases.claim(session, Search, "worker", LEASE, 5)
    assert taken is not None
    return taken


def test_a_released_search_is_free_at_once_and_counts_no_death(database: Database) -> None:
    search_id = new_search(database)
    for _ in range(8):
        held = must_claim(database)
        with database.write() as session:
            leases.release(session, held)
    assert read(database, search_id).attempts == 0
    assert read(database, search_id).state == SearchState.RUNNING


def test_deaths_in_a_row_end_the_search(database: Database) -> None:
    search_id = new_search(database)
    for _ in range(3):
        held = claim(database, attempts=3)
        assert held is not None
        expire(database, held)
    other = new_search(database)
    taken = claim(database, attempts=3)
    assert taken is not None
    assert taken.id == other
    row = read(database, search_id)
    assert (row.state, row.error_code) == (SearchState.FAILED, "worker_died")
    assert row.error_message is not None
    assert "3 workers" in row.error_message


def test_progress_forgives_earlier_deaths(database: Database) -> None:
    search_id = new_search(database)
    for number in range(8):
        held = claim(database, attempts=3)
        assert held is not None
        record(database, held, trial(number))
        expire(database, held)
    assert read(database, search_id).state == SearchState.RUNNING


def test_leases_of_a_dead_process_of_this_machine_end_at_once(database: Database) -> None:
    new_search(database)
    me = processes.owner_name()
    machine, pid, started = me.rsplit(":", 2)
    assert not processes.is_dead(me)
    assert not processes.is_dead(f"elsewhere:{pid}:1")
    dead = f"{machine}:{pid}:{int(started) - 1}"  # the id was used by an earlier process
    assert processes.is_dead(dead)
    must_claim(database, dead)
    assert claim(database, me) is None
    with database.write() as session:
        assert leases.owners(session) == {dead}
        leases.expire_owner(session, dead)
    assert claim(database, me) is not None


def test_exports_are_claimed_like_searches(database: Database) -> None:
    search_id = new_search(database)
    record(database, must_claim(database), trial(0, rung=1, epochs=5), trial(1))
    with database.write() as session:
        trained, untrained = trial_store.load_rows(session, search_id)
        export_id = store.create_export(session, trained, "onnx").id
        with pytest.raises(Conflict, match="never trained"):
            store.create_export(session, untrained, "onnx")
    held = claim(database, table=Export)
    assert held is not None
    assert held.id == export_id
    assert claim(database, table=Export) is None
    with database.write() as session:
        leases.finish(session, held, "SUCCEEDED", report={"file": "model.onnx"})
    with database.read() as session:
        row = store.get_export(session, export_id)
        assert (row.state, row.report, row.trial.search.id) == ("SUCCEEDED", {"file": "model.onnx"}, search_id)
        assert [e.id for e in store.list_exports(session, row.trial_id)] == [export_id]


# searches


def test_the_specification_survives_the_database(database: Database) -> None:
    wanted = spec(constraints=[{"metric": "params", "max": 2e5}], labels={"team": "ü"}, seed=2**32 - 1)
    with database.write() as session:
        search_id = store.create_search(session, wanted).id
    assert SearchSpec.model_validate(read(database, search_id).spec) == wanted


def test_an_idempotency_key_makes_one_search(database: Database) -> None:
    with database.write() as session:
        first = store.create_search(session, spec(), idempotency_key="k").id
    with database.write() as session:
        assert store.create_search(session, spec(), idempotency_key="k").id == first
        assert store.create_search(session, spec(), idempotency_key="other").id != first
        with pytest.raises(Conflict, match="another specification"):
            store.create_search(session, spec(seed=1), idempotency_key="k")


def test_cancel(database: Database) -> None:
    queued, running = new_search(database), new_search(database)
    with database.write() as session:
        assert store.request_cancel(session, queued).state == SearchState.CANCELLED
    held = must_claim(database)
    assert held.id == running  # the cancelled one is not claimed
    for _ in range(2):  # asking twice is no error
        with database.write() as session:
            row = store.request_cancel(session, running)
            assert (row.state, row.cancel_requested) == (SearchState.RUNNING, True)
    with database.write() as session:
        leases.finish(session, held, "SUCCEEDED")
    with pytest.raises(Conflict, match="SUCCEEDED"), database.write() as session:
        store.request_cancel(session, running)
    with pytest.raises(NotFound), database.write() as session:
        store.request_cancel(session, "s_none")


def test_searches_are_paged_newest_first_and_a_growing_list_skips_nothing(database: Database) -> None:
    ids = [new_search(database, name=f"search {n}") for n in range(7)]
    with database.read() as session:
        page = store.list_searches(session, page_size=3)
    new_search(database)
    seen = [row.id for row in page.items]
    for _ in range(5):
        if page.next_page_token is None:
            break
        with database.read() as session:
            page = store.list_searches(session, page_size=3, page_token=page.next_page_token)
        seen += [row.id for row in page.items]
    assert seen == ids[::-1]


@pytest.mark.parametrize("token", ["", "x", "?", "e30", "WzFd", "bnVsbA", "WyJzZWFyY2hlcyIsMSwyXQ", "ü", "a" * 500])
def test_foreign_page_tokens_are_refused(database: Database, token: str) -> None:
    with pytest.raises(InvalidQuery), database.read() as session:
        store.list_searches(session, page_token=token)


def test_workers_are_alive_while_they_beat(database: Database) -> None:
    with database.write() as session:
        store.beat(session, "w1")
    with database.write() as session:
        store.beat(session, "w1")
        store.beat(session, "w2")
    with database.write() as session:
        assert store.live_workers(session, 60) == 2
        assert store.live_workers(session, 0) == 0
        store.forget_worker(session, "w1")
        assert store.live_workers(session, 60) == 1
        store.forget_silent_workers(session, -1)
        assert store.live_workers(session, 60) == 0


# trials


def measurement(metric: str, value: float, rung: int = 0, source: Source = Source.MEASURED) -> Measurement:
    device = "local-onnxruntime" if metric == "latency_ms" else None
    return Measurement(metric, device, rung, value, None, source)


def test_trials_come_back_as_they_were_recorded(database: Database) -> None:
    search_id = new_search(database)
    held = must_claim(database)
    full = trial(
        0,
        state=TrialState.WAITING,
        rung=1,
        epochs=5,
        proxies={"naswot": 1.5, "synflow": None},
        measurements=(
            measurement("params", 12.0),
            measurement("latency_ms", 0.1 + 0.2),
            measurement("accuracy", 0.9, 1),
        ),
        notes={"generation": [1, {"x": 2.5}]},
        error="ü",
    )
    record(database, held, trial(1), full)
    assert load(database, search_id) == [full, trial(1)]


def test_a_new_version_replaces_the_old_one_and_keeps_its_id(database: Database) -> None:
    search_id = new_search(database)
    held = must_claim(database)
    first = trial(0, measurements=(measurement("params", 1.0), measurement("macs", 2.0)))
    record(database, held, first, trial(1))
    with database.read() as session:
        before = {row.number: row.id for row in trial_store.load_rows(session, search_id)}
    changed = replace(first, state=TrialState.PRUNED, measurements=(measurement("accuracy", 0.5, 1),))
    record(database, held, changed, trial(2))
    assert load(database, search_id) == [changed, trial(1), trial(2)]
    with database.read() as session:
        after = {row.number: row.id for row in trial_store.load_rows(session, search_id)}
        assert store.count_trials(session, [search_id]) == {search_id: {"PRUNED": 1, "SCORED": 2}}
    assert {number: after[number] for number in before} == before


def test_a_batch_is_recorded_whole_or_not_at_all(database: Database) -> None:
    search_id = new_search(database)
    held = must_claim(database)
    with pytest.raises(StatementError):
        record(database, held, trial(0), trial(1, proxies={"naswot": float("nan")}))
    assert load(database, search_id) == []


def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(Exception, match="FOREIGN KEY"), database.write() as session:
        session.execute(text("INSERT INTO measurements VALUES ('t_none', 0, 'params', NULL, 0, 1.0, NULL, 'measured')"))


def test_a_write_waits_for_another_and_sees_it(database: Database) -> None:
    """Read first, write later, in two threads: without the early lock one of them would fail."""
    search_id = new_search(database)
    errors: list[Exception] = []

    def count_up() -> None:
        try:
            for _ in range(20):
                with database.write() as session:
                    done = store.get_search(session, search_id).progress_done
                    session.execute(update(Search).where(Search.id == search_id).values(progress_done=done + 1))
        except OperationalError as error:
            errors.append(error)

    threads = [threading.Thread(target=count_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == []
    assert read(database, search_id).progress_done == 60


FIGURES: dict[int, tuple[Measurement, ...]] = {
    0: (measurement("latency_ms", 5.0, source=Source.PREDICTED),),
    1: (measurement("latency_ms", 9.0, source=Source.PREDICTED), measurement("latency_ms", 1.0)),
    2: (),
    3: (measurement("latency_ms", 3.0),),
    4: (measurement("latency_ms", 3.0), measurement("accuracy", 0.9, 1), measurement("accuracy", 0.2, 2)),
    5: (),
}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("number", [0, 1, 2, 3, 4, 5]),
        ("-number", [5, 4, 3, 2, 1, 0]),
        ("latency_ms", [1, 3, 4, 0, 2, 5]),
        ("-latency_ms", [0, 3, 4, 1, 2, 5]),
        ("latency_ms@local-onnxruntime", [1, 3, 4, 0, 2, 5]),
        ("accuracy", [4, 0, 1, 2, 3, 5]),
    ],
)
@pytest.mark.parametrize("page_size", [1, 2, 4, 100])
def test_trials_are_listed_in_order_over_pages(
    database: Database, order: str, expected: list[int], page_size: int
) -> None:
    search_id = new_search(database)
    record(database, must_claim(database), *(trial(n, measurements=m) for n, m in FIGURES.items()))
    seen: list[Trial] = []
    token: str | None = None
    for _ in range(len(expected)):
        with database.read() as session:
            page = trial_store.list_trials(
                session,
                search_id,
                order=trial_store.parse_order(order, spec()),
                page_size=page_size,
                page_token=token,
            )
            seen += [trial_store.as_trial(row) for row in page.items]
        token = page.next_page_token
        if token is None:
            break
    assert [t.number for t in seen] == expected


def test_the_order_uses_the_figure_that_a_trial_shows(database: Database) -> None:
    search_id = new_search(database)
    low = trial(0, measurements=(measurement("accuracy", 0.9, 1), measurement("accuracy", 0.2, 2)))
    high = trial(1, measurements=(measurement("accuracy", 0.1, 1), measurement("accuracy", 0.8, 2)))
    record(database, must_claim(database), low, high)
    with database.read() as session:
        page = trial_store.list_trials(session, search_id, order=Order("accuracy"))
        found = [trial_store.as_trial(row).find("accuracy") for row in page.items]
    assert [m.value for m in found if m is not None] == [0.2, 0.8]


def test_trials_are_filtered(database: Database) -> None:
    search_id = new_search(database)
    states = (TrialState.SCORED, TrialState.PRUNED, TrialState.SUCCEEDED)
    record(database, must_claim(database), *(trial(n, state=states[n % 3], rung=n % 3) for n in range(6)))
    with database.read() as session:
        both = trial_store.list_trials(session, search_id, states=["PRUNED", "SUCCEEDED"])
        high = trial_store.list_trials(session, search_id, min_rung=2)
    assert [row.number for row in both.items] == [1, 2, 4, 5]
    assert [row.number for row in high.items] == [2, 5]


def test_a_token_of_another_order_is_refused(database: Database) -> None:
    search_id = new_search(database)
    record(database, must_claim(database), trial(0), trial(1))
    with database.read() as session:
        token = trial_store.list_trials(session, search_id, page_size=1).next_page_token
        with pytest.raises(InvalidQuery):
            trial_store.list_trials(session, search_id, order=Order(descending=True), page_token=token)


@pytest.mark.parametrize(
    ("order", "hint"),
    [
        ("latencyms", "latency_ms"),
        ("", "number"),
        ("latency_ms@local-onnx", "local-onnxruntime"),
        ("number@x", "number"),
    ],
)
def test_an_unknown_order_names_the_nearest(order: str, hint: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        trial_store.parse_order(order, spec())
    assert hint in caught.value.hint


# spaces of users


def own(name: str = "mine", **changes: Any) -> SpaceDefinition:
    return SpaceDefinition.model_validate({**SPACE, "name": name, **changes})


def test_a_space_is_stored_once_and_never_changed(database: Database) -> None:
    with database.write() as session:
        row, new = space_store.add_space(session, own())
        assert new
    with database.write() as session:
        again, new = space_store.add_space(session, own(width=[0.5, 1]))
        assert (again.created_at, new) == (row.created_at, False)
        for other in (own(width=1.0), own(description="other words")):
            with pytest.raises(Conflict):
                space_store.add_space(session, other)
        with pytest.raises(Conflict, match="built-in"):
            space_store.add_space(session, own("mobilenet_v2"))
    with database.read() as session:
        assert space_store.definition_of(space_store.get_space_row(session, "mine")) == own()
        assert space_store.all_names(session) == sorted([*SPACES, "mine"])


def test_two_requests_that_store_the_same_space_make_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.write() as session:
        space_store.add_space(session, own())
    with database.write() as session:
        found = session.get
        answers = iter([None])
        # the row of the other request appears between the look and the insert
        monkeypatch.setattr(session, "get", lambda *key: next(answers, found(*key)))
        row, new = space_store.add_space(session, own())
        assert (row.name, new) == ("mine", False)


def test_a_stored_name_stands_for_its_definition(database: Database) -> None:
    with database.write() as session:
        space_store.add_space(session, own())
        named = space_store.with_definition(session, spec(space="mine"))
        assert named.space == own()
        for built_in in ("mobilenet_v2_small", "vovnet[early_strides=false]"):
            assert space_store.resolve(session, built_in) == built_in
        assert space_store.resolve(session, own("other")) == own("other")
        with pytest.raises(UnknownName) as caught:
            space_store.resolve(session, "mime")
        assert "did you mean 'mine'" in caught.value.hint
    with database.write() as session:
        search_id = store.create_search(session, named).id
        space_store.delete_space(session, "mine")
    with database.read() as session:
        assert session.get(Space, "mine") is None
        assert SearchSpec.model_validate(store.get_search(session, search_id).spec) == named
    with database.write() as session, pytest.raises(NotFound):
        space_store.delete_space(session, "mine")
