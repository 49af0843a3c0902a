"""Agents of remote devices in the database: their tokens, and what they said of their machines.

Every function works inside the session it is given and never commits.
"""

import hmac
import re
import secrets
from collections.abc import Collection
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.errors import Conflict, NotFound, Unauthorized
from api.models import Agent, utcnow
from latency_models.device import LOCAL
from search_spaces.errors import InvalidSpec, nearest

SEEN_SECONDS = 60.0
"""An agent that was silent for longer counts as gone."""
_NOTE_SECONDS = 2.0  # an idle agent asks every second, and need not be written down each time
_NAME = re.compile(r"[a-z0-9_]{1,32}")


def add_agent(session: Session, name: str, reserved: Collection[str] = ()) -> str:
    """Makes an agent and returns its token, of which only the SHA-256 is kept.

    ``reserved``: the names of analytic devices. Raises: InvalidSpec for a name that a device's name cannot begin
    with, Conflict where it is taken.
    """
    if not _NAME.fullmatch(name):
        hint = "1 to 32 lower-case letters, digits and underscores, for example pi4"
        raise InvalidSpec(f"an agent cannot be called {name[:100]!r}", hint=hint, field="name")
    if name == LOCAL:
        raise Conflict(f"{LOCAL!r} is the machine of the service", hint="choose another name, for example pi4")
    if name in reserved:
        raise Conflict(f"{name!r} is an analytic device of the catalogue", hint=f"choose another name: my_{name}"[:100])
    if session.get(Agent, name) is not None:
        raise _taken(name)
    token = secrets.token_urlsafe(32)
    try:
        with session.begin_nested():
            session.add(Agent(name=name, token_sha256=_digest(token), created_at=utcnow()))
    except IntegrityError:  # another request with the same name was faster
        raise _taken(name) from None
    return token


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is an agent {name!r} already",
        hint=f"choose another name, or remove that one for a new token: hwnas agents remove {name}",
    )


def list_agents(session: Session) -> list[Agent]:
    """Every agent, by name."""
    return list(session.scalars(select(Agent).order_by(Agent.name)))


def get_agent(session: Session, name: str) -> Agent:
    """The agent; NotFound if there is none."""
    agent = session.get(Agent, name)
    if agent is None:
        known = [agent.name for agent in list_agents(session)]
        hint = nearest(name, known) if known else f"make it: hwnas agents add {name}"
        raise NotFound(f"there is no agent {name!r}", hint=hint)
    return agent


def remove_agent(session: Session, name: str) -> None:
    """Forget an agent and its jobs; its token is worth nothing from then on. NotFound if there is none."""
    session.delete(get_agent(session, name))
    session.flush()


def authenticate(session: Session, name: str, token: str) -> Agent:
    """The agent whose token this is. Raises: Unauthorized, alike for a wrong token and an unknown name."""
    agent = session.get(Agent, name)
    known = agent.token_sha256 if agent is not None else _digest("")
    if not hmac.compare_digest(known, _digest(token)) or agent is None:
        raise Unauthorized(
            f"this is not the token of agent {name[:100]!r}",
            hint=f"make a new one: hwnas agents remove {name[:100]}; hwnas agents add {name[:100]}",
        )
    return agent


def note_seen(agent: Agent) -> None:
    """Note that the agent lives."""
    now = utcnow()
    if agent.last_seen_at is None or now - agent.last_seen_at > timedelta(seconds=_NOTE_SECONDS):
        agent.last_seen_at = now


def is_connected(agent: Agent) -> bool:
    """Whether the agent was heard of within ``SEEN_SECONDS``."""
    return agent.last_seen_at is not None and utcnow() - agent.last_seen_at <= timedelta(seconds=SEEN_SECONDS)


def start_command(name: str) -> str:
    """What starts an agent on its device, after copying ``GET /v1/agent.py`` there."""
    return f"python agent.py --server URL --token TOKEN --name {name}"


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
