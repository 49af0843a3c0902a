"""A limit on the size of request bodies, before anything else looks at them."""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import body_of

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 10.0


class BodyLimit:
    """Answers 413 to a body above the limit, at once where its length is announced."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self.max_body_bytes:
            await self._refuse(scope, receive, send)
            return
        body = bytearray()
        more = announced != "0" or "transfer-encoding" in Headers(scope=scope)
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.max_body_bytes:
                await self._refuse(scope, receive, send)
                return
        await self.app(scope, _replay(bytes(body), receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = f"{self.max_body_bytes:,} bytes"
        content = body_of(
            "body_too_large", f"the body is larger than {limit}", f"send at most {limit}; a search needs some hundreds"
        )

        async def send_open(message: Message) -> None:
            # held open while the rest arrives: a socket closed with data unread resets, and the answer is lost
            await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

        response = JSONResponse(content, status_code=413, headers={"Connection": "close"})
        await response(scope, receive, send_open)
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    """Read and forget what a client is still sending, up to a limit."""
    seen = 0
    while seen < DRAIN_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body that was read, then whatever comes next."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
