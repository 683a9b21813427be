"""HTTP for the bytes."""

import asyncio
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP

from tests.gateway.peers.world import World


class DataPlane:
    """Takes PUTs and forms in chunks and serves GETs with a range, over HTTP/1.1."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split(" ", 2)
            object_id = target.split("?")[0].rpartition("/")[2]
            if method == "PUT":
                await self._put(object_id, reader, writer)
            elif method == "POST":
                await self._post(head, reader, writer)
            else:
                await self._get(object_id, head.lower(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _put(self, object_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.world.put_status != 200:
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % self.world.put_status)
            await writer.drain()
            return
        blob = self.world.blobs[object_id] = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            blob += await reader.readexactly(size)
            await reader.readexactly(2)
            async with self.world.changed:
                self.world.changed.notify_all()
            await self.world.put_gate.wait()
        await reader.readexactly(2)
        self.world.complete.add(object_id)
        writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async def _post(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A form: its fields, then the file. What lacks the permission is refused."""
        body = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        fields = _fields_of(head, bytes(body))
        object_id, allowed = fields.get("key", b"").decode(), fields.get("signature") == b"a"
        if allowed:
            self.world.blobs[object_id] = bytearray(fields["file"])
            self.world.complete.add(object_id)
        status = b"204 No Content" if allowed else b"403 Forbidden\r\ncontent-length: 0"
        writer.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async def _get(self, object_id: str, head: str, writer: asyncio.StreamWriter) -> None:
        blob = bytes(self.world.blobs.get(object_id, b""))
        status, extra = "200 OK", ""
        if "range: bytes=0-3\r\n" in head:
            status, extra, blob = "206 Partial", f"content-range: bytes 0-3/{len(blob)}\r\n", blob[:4]
        if object_id not in self.world.blobs:
            status = "404 Not Found"
        start = f"HTTP/1.1 {status}\r\ncontent-type: audio/wav\r\ncontent-length: {len(blob)}\r\n{extra}connection: close\r\n\r\n"
        writer.write(start.encode() + blob)
        await writer.drain()


def _fields_of(head: str, body: bytes) -> dict[str, bytes]:
    """Content by name of a multipart form."""
    kind = next(line for line in head.splitlines() if line.lower().startswith("content-type:"))
    message = BytesParser(policy=HTTP).parsebytes(f"{kind}\r\n\r\n".encode() + body)
    parts = [part for part in message.iter_parts() if isinstance(part, EmailMessage)]
    return {str(part["content-disposition"].params["name"]): _content(part) for part in parts}


def _content(part: EmailMessage) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content
