"""The specification: what it accepts, and what it says of what it does not."""

import pickle
from typing import Any

import pytest
from pydantic import ValidationError
from support_service import SPACE
from support_trials import make_spec

from nas.jobs import ScoreJob
from nas.spec import SearchSpec
from search_spaces.definition import SpaceDefinition, space_of


def test_it_round_trips_through_json() -> None:
    spec = make_spec(constraints=[{"metric": "params", "max": 200_000}], labels={"team": "edge"})
    assert SearchSpec.model_validate_json(spec.model_dump_json()) == spec


def test_defaults_are_complete() -> None:
    spec = SearchSpec.model_validate(
        {"space": "nas_bench_201", "dataset": "digits", "objectives": [{"metric": "accuracy"}]}
    )
    assert spec.objectives[0].goal == "maximize"
    assert [rung.epochs for rung in spec.rungs] == [5, 30]
    assert spec.devices == ()


def test_the_space_is_a_name_or_a_definition() -> None:
    named, own = make_spec(), make_spec(space=SPACE)
    assert named.space == named.space_name == "mobilenet_v2_small"
    assert isinstance(own.space, SpaceDefinition)
    assert own.space_name == own.space.key == space_of(own.space).name
    for spec in (named, own):
        stored = spec.model_dump(mode="json")
        assert SearchSpec.model_validate(stored) == spec
        assert SearchSpec.model_validate(stored).model_dump(mode="json") == stored
        assert SearchSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_specification_stored_before_there_were_definitions_still_loads() -> None:
    stored = make_spec().model_dump(mode="json")
    assert stored["space"] == "mobilenet_v2_small"
    assert SearchSpec.model_validate(stored).space == "mobilenet_v2_small"


def test_jobs_carry_the_definition_into_other_processes() -> None:
    spec = make_spec(space=SPACE)
    job = ScoreJob(spec.space, "text", spec.dataset, (), 0)
    arrived = pickle.loads(pickle.dumps(job))
    assert arrived == job
    assert space_of(arrived.space) is space_of(spec.space)


def test_keys_name_the_device_only_where_there_are_several() -> None:
    two = [{"metric": "latency_ms", "device": d} for d in ("local-onnxruntime", "local-onnxruntime-b64")]
    assert make_spec(objectives=two).key("latency_ms", "local-onnxruntime") == "latency_ms@local-onnxruntime"
    assert make_spec(objectives=two[:1]).key("latency_ms", "local-onnxruntime") == "latency_ms"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"colour": "red"}, "colour", "Extra inputs"),
        ({"objectives": []}, "objectives", "at least one"),
        ({"objectives": [{"metric": "acuracy"}]}, "objectives.0", "did you mean 'accuracy'"),
        ({"objectives": [{"metric": "latency_ms"}]}, "objectives.0", "needs a device"),
        ({"objectives": [{"metric": "params", "device": "x"}]}, "objectives.0", "does not depend"),
        ({"objectives": [{"metric": "params"}, {"metric": "params"}]}, "objectives", "twice"),
        ({"objectives": [{"metric": "accuracy", "goal": "maximise"}]}, "objectives.0.goal", "maximize"),
        ({"constraints": [{"metric": "params"}]}, "constraints.0", "max"),
        ({"constraints": [{"metric": "params", "max": 1, "min": 2}]}, "constraints.0", "above"),
        ({"constraints": [{"metric": "params", "max": "9"}]}, "constraints.0.max", "valid number"),
        ({"constraints": [{"metric": "params", "max": True}]}, "constraints.0.max", "valid number"),
        ({"constraints": [{"metric": "params", "max": float("nan")}]}, "constraints.0.max", "finite"),
        ({"budget": {"scored": 0}}, "budget.scored", "greater than 0"),
        ({"budget": {"trainings": -1}}, "budget.trainings", "greater than 0"),
        ({"budget": {"scored": True}}, "budget.scored", "valid integer"),
        ({"budget": {"scored": "300"}}, "budget.scored", "valid integer"),
        ({"budget": {"scored": 3, "trainings": 4}}, "budget", "must not exceed"),
        ({"budget": {"wall_seconds": 0}}, "budget.wall_seconds", "greater than 0"),
        ({"rungs": []}, "rungs", "at least one"),
        ({"rungs": [{"epochs": 5}, {"epochs": 5}]}, "rungs", "must rise"),
        ({"eta": 1}, "eta", "greater than or equal to 2"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"spec_version": 2}, "spec_version", "1"),
        ({"name": ""}, "name", "at least 1"),
        ({"space": 3}, "space", "neither the name"),
        ({"space": "x" * 201}, "space", "neither the name"),
        ({"space": {**SPACE, "stages": []}}, "space.stages", "at least 1"),
        ({"space": {**SPACE, "width": [1.0, 0.5]}}, "space.width.1", "comes after 1.0"),
        ({"space": {**SPACE, "colour": "red"}}, "space.colour", "Extra inputs"),
        ({"name": "<script>"}, "name", "match"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate", "greater than 0"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_spec(**changes)
    errors = caught.value.errors()
    assert [".".join(map(str, e["loc"])) for e in errors] == [field]
    assert message in errors[0]["msg"]
