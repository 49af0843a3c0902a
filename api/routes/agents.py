"""Agents of remote devices: the operator's side, and the calls that an agent makes with its token.

The protocol, call by call, is in docs/agents.md.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.responses import FileResponse
from sqlalchemy.orm import Session

from api import agent_store, timing_jobs
from api.agent_schemas import (
    AgentCreated,
    AgentIn,
    AgentOut,
    BatchOut,
    HelloIn,
    HelloOut,
    JobOut,
    LeaseOut,
    RenewIn,
    RenewOut,
    ResultIn,
)
from api.dependencies import DatabaseOf, ReadSession, SettingsOf, WriteSession
from api.errors import Conflict, NotFound, Unauthorized
from api.models import Agent
from api.schemas import PageOut
from latency_models import agent as agent_program
from latency_models.catalogue import load_catalogue
from latency_models.device import parse_device

router = APIRouter(prefix="/v1", tags=["agents"])

BEARER = "bearer "


@router.post("/agents", status_code=201)
def add_agent(body: AgentIn, session: WriteSession, settings: SettingsOf) -> AgentCreated:
    """Make an agent. Its token is told here and never again."""
    token = agent_store.add_agent(session, body.name, reserved=load_catalogue(settings.devices_file))
    return AgentCreated(name=body.name, token=token)


@router.get("/agents")
def list_agents(session: ReadSession) -> PageOut[AgentOut]:
    """Every agent: when it was last heard of, and what it runs on."""
    items = [_present(agent) for agent in agent_store.list_agents(session)]
    return PageOut(items=items, next_page_token=None)


@router.delete("/agents/{name}", status_code=204)
def remove_agent(name: str, session: WriteSession) -> None:
    """Forget an agent and what it should time; its token is worth nothing from then on."""
    agent_store.remove_agent(session, name)


@router.get("/agent.py", response_class=FileResponse)
def agent_file() -> FileResponse:
    """The program of an agent: one file that needs Python and onnxruntime."""
    return FileResponse(Path(agent_program.__file__), media_type="text/x-python", filename="agent.py")


def agent_token(authorization: Annotated[str, Header(max_length=500)] = "") -> str:
    if not authorization.lower().startswith(BEARER):
        raise Unauthorized("an agent shows its token", hint="send the header Authorization: Bearer TOKEN")
    return authorization[len(BEARER) :].strip()


TokenOf = Annotated[str, Depends(agent_token)]


def authenticated(name: str, token: TokenOf, session: WriteSession) -> Iterator[tuple[Session, Agent]]:
    agent = agent_store.authenticate(session, name, token)
    agent_store.note_seen(agent)
    yield session, agent


CallOf = Annotated[tuple[Session, Agent], Depends(authenticated, scope="function")]


@router.post("/agents/{name}/hello")
def hello(body: HelloIn, call: CallOf) -> HelloOut:
    """An agent has started: what it runs on. What was leased to it before is free again."""
    session, agent = call
    if body.protocol != agent_program.PROTOCOL:
        raise Conflict(
            f"the agent speaks protocol {body.protocol}, the service {agent_program.PROTOCOL}",
            hint="copy the agent again: GET /v1/agent.py",
        )
    agent.cpu, agent.runtime_version, agent.threads = body.cpu, body.runtime_version, body.threads
    timing_jobs.release_all(session, agent)
    return HelloOut(protocol=agent_program.PROTOCOL)


@router.post("/agents/{name}/lease")
def lease(call: CallOf, settings: SettingsOf) -> LeaseOut:
    """Files to time together, and how; ``batch`` is null where there is nothing to do."""
    session, agent = call
    jobs = timing_jobs.lease(session, agent, settings.lease_seconds, settings.max_attempts)
    if not jobs:
        return LeaseOut(batch=None)
    first, device = jobs[0], parse_device(jobs[0].device)
    return LeaseOut(
        batch=BatchOut(
            lease=first.lease_token or "",
            lease_s=settings.lease_seconds,
            threads=device.threads,
            batch_size=device.batch_size,
            visits=first.visits,
            visit_s=first.visit_s,
            seed=first.seed,
            jobs=[JobOut.model_validate(job) for job in jobs],
        )
    )


@router.post("/agents/{name}/renew")
def renew(body: RenewIn, call: CallOf, settings: SettingsOf) -> RenewOut:
    """Whether the files of a lease are still wanted; if so, it runs on."""
    session, agent = call
    return RenewOut(held=timing_jobs.renew(session, agent, body.lease, settings.lease_seconds))


@router.get("/agents/{name}/files/{sha256}", response_class=FileResponse)
def get_file(sha256: str, call: CallOf, settings: SettingsOf) -> FileResponse:
    """The file of a job of this agent."""
    session, agent = call
    path = settings.data_dir / timing_jobs.path_of(session, agent, sha256)
    if not path.is_file():
        raise NotFound("the file is gone", hint="ask for jobs again")
    return FileResponse(path, media_type="application/octet-stream")


@router.post("/agents/{name}/jobs/{job_id}", status_code=204)
def finish_job(
    name: str, job_id: str, body: ResultIn, token: TokenOf, database: DatabaseOf, settings: SettingsOf
) -> None:
    """The samples of a job, or why the agent could not time it. The same again changes nothing.

    Samples that cannot be times are refused, and the job is queued again.
    """
    refused = None
    with database.write() as session:
        agent = agent_store.authenticate(session, name, token)
        agent_store.note_seen(agent)
        if body.error is not None:
            timing_jobs.record_error(session, agent, job_id, body.lease, body.error)
        else:
            refused = timing_jobs.record_samples(
                session, agent, job_id, body.lease, body.samples, settings.max_attempts
            )
    if refused is not None:  # raised here, because the job's new state must be committed
        raise refused


def _present(agent: Agent) -> AgentOut:
    return AgentOut(
        name=agent.name,
        connected=agent_store.is_connected(agent),
        last_seen_at=agent.last_seen_at,
        cpu=agent.cpu,
        runtime_version=agent.runtime_version,
        threads=agent.threads,
        created_at=agent.created_at,
        start="" if agent_store.is_connected(agent) else agent_store.start_command(agent.name),
    )
