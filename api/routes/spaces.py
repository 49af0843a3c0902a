"""Search spaces: the built-in ones, and those that users store by name."""

import threading
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Request, Response

from api import space_store
from api.dependencies import DatabaseOf, PageSize, PageToken, ReadSession, WriteSession
from api.errors import InvalidQuery
from api.paging import cut, read_token
from api.schemas import PageOut, SpaceDetail, SpaceOut
from api.space_present import present_space, present_space_detail
from search_spaces import SPACES
from search_spaces.definition import is_built_in
from search_spaces.definition_check import check_definition
from search_spaces.definition_text import read_definition

router = APIRouter(prefix="/v1/spaces", tags=["spaces"])

JSON_TYPES = ("application/json",)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")

_checking = threading.Lock()  # one at a time: a check may take some seconds of a core

_SCHEMA: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/SpaceDefinition"}}
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {JSON_TYPES[0]: _SCHEMA, YAML_TYPES[0]: _SCHEMA}}}


class _Body(NamedTuple):
    """The text of a request, and what it says it is."""

    text: bytes
    as_json: bool


async def definition_body(request: Request) -> _Body:
    kind = request.headers.get("content-type", JSON_TYPES[0]).partition(";")[0].strip().lower()
    if kind not in (*JSON_TYPES, *YAML_TYPES):
        hint = f"send the header Content-Type: {JSON_TYPES[0]}, or {YAML_TYPES[0]}"
        raise InvalidQuery(f"a definition cannot be {kind[:100]!r}", hint=hint)
    return _Body(await request.body(), kind in JSON_TYPES)


@router.post("", status_code=201, openapi_extra=_BODY)
def store_space(
    body: Annotated[_Body, Depends(definition_body)], database: DatabaseOf, response: Response
) -> SpaceDetail:
    """Store a space under the name in its definition. The same definition again changes nothing and answers 200."""
    definition = read_definition(body.text, as_json=body.as_json)
    with _checking:
        check_definition(definition)
    with database.write() as session:
        row, new = space_store.add_space(session, definition)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/spaces/{row.name}"
    return present_space_detail(row.name, row)


@router.get("")
def list_spaces(session: ReadSession, page_size: PageSize = 50, page_token: PageToken = None) -> PageOut[SpaceOut]:
    """The search spaces by name, built-in and stored, with every choice that an architecture makes."""
    after = read_token(page_token, "spaces", (str,))[0] if page_token else ""
    names = [name for name in space_store.all_names(session) if name > after][: page_size + 1]
    page = cut(names, page_size, "spaces", lambda name: (name,))
    stored = space_store.get_space_rows(session, [name for name in page.items if name not in SPACES])
    items = [present_space(name, stored.get(name)) for name in page.items]
    return PageOut(items=items, next_page_token=page.next_page_token)


@router.get("/{name}")
def get_space(name: str, session: ReadSession) -> SpaceDetail:
    """One search space: built in (options in brackets give a variant of it), or stored, with its definition."""
    return present_space_detail(name, None if is_built_in(name) else space_store.get_space_row(session, name))


@router.delete("/{name}", status_code=204)
def delete_space(name: str, session: WriteSession) -> None:
    """Forget a stored space. Searches that used it keep its definition."""
    space_store.delete_space(session, name)
