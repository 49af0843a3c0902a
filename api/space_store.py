"""Spaces of users in the database: stored by name, never changed.

Every function works inside the session it is given and never commits.
"""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.errors import Conflict, NotFound
from api.models import Space, utcnow
from nas.spec import SearchSpec
from search_spaces import SPACES
from search_spaces.definition import SpaceDefinition, SpaceReference, is_built_in
from search_spaces.errors import UnknownName, nearest


def add_space(session: Session, definition: SpaceDefinition) -> tuple[Space, bool]:
    """The space under the definition's name, and whether it is new; Conflict if the name means another one."""
    name = definition.name
    if name in SPACES:
        raise Conflict(f"{name!r} is the name of a built-in space", hint="give the definition another name")
    row = session.get(Space, name)
    if row is None:
        row = Space(name=name, definition=definition.document, created_at=utcnow())
        try:
            with session.begin_nested():
                session.add(row)
            return row, True
        except IntegrityError:  # another request with the same name was faster
            row = get_space_row(session, name)
    if row.definition != definition.document:
        raise Conflict(
            f"{name!r} is stored with another definition, and a stored space never changes",
            hint=f"give this one another name, or delete the stored one: DELETE /v1/spaces/{name}",
        )
    return row, False


def get_space_row(session: Session, name: str) -> Space:
    """The stored space; NotFound if there is none."""
    row = session.get(Space, name)
    if row is None:
        raise NotFound(f"there is no space {name!r}", hint=nearest(name, all_names(session)))
    return row


def get_space_rows(session: Session, names: list[str]) -> dict[str, Space]:
    """The stored ones among some names."""
    return {row.name: row for row in session.scalars(select(Space).where(Space.name.in_(names)))}


def all_names(session: Session) -> list[str]:
    """The names of all spaces, built-in and stored, in order."""
    return sorted({*SPACES, *session.scalars(select(Space.name))})


def delete_space(session: Session, name: str) -> None:
    """Forget a stored space; NotFound if there is none, Conflict for a built-in one."""
    if name in SPACES:
        raise Conflict(f"{name!r} is built in", hint="only spaces that were stored can be deleted")
    session.delete(get_space_row(session, name))
    session.flush()


def definition_of(row: Space) -> SpaceDefinition:
    """The definition of a stored space."""
    return SpaceDefinition.model_validate(row.definition)


def resolve(session: Session, reference: SpaceReference) -> SpaceReference:
    """A built-in name or a definition as it is, a stored name as its definition; UnknownName for any other."""
    if isinstance(reference, SpaceDefinition) or is_built_in(reference):
        return reference
    row = session.get(Space, reference)
    if row is None:
        hint = nearest(reference, all_names(session))
        raise UnknownName(f"unknown search space {reference!r}", hint=hint, field="space")
    return definition_of(row)


def with_definition(session: Session, spec: SearchSpec) -> SearchSpec:
    """A specification in which a stored name is replaced by its definition: what is deleted later stays with it."""
    return spec.model_copy(update={"space": resolve(session, spec.space)})
