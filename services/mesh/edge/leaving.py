"""Answers of a server that leaves: each ends its connection, so that the client's next request goes to another."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

_CLOSE = (b"connection", b"close")


def closing_when(leaving: asyncio.Event, application: Application) -> Application:
    """The application; from `leaving` on every answer says `Connection: close`."""

    async def closing(scope: Any, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and leaving.is_set():
                kept = [header for header in message.get("headers", ()) if header[0].lower() != _CLOSE[0]]
                message = {**message, "headers": [*kept, _CLOSE]}
            await send(message)

        await application(scope, receive, sent)

    return closing
