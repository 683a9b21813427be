"""Requests on the ledger that wait at the same moment share one book and one commit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.billing.usecases.billing import Billing
from services.billing.usecases.book import Book, Held, open_book, write_book
from services.mesh import fault
from services.mesh.database import retried
from services.mesh.errors import MeshError, Overloaded, Unavailable

MOST_TOGETHER = 64
MOST_WAITING = 1024


@dataclass(frozen=True)
class Reserve:
    """Put credit of a wallet on hold for a job, or for a while that can be renewed."""

    wallet_id: str
    job_id: str
    amount_ms: int
    ttl: timedelta | None = None

    def apply(self, book: Book) -> Held:
        """Raises NoCredits, UploadLimitExceeded, WorkspaceNotFound, InvalidField."""
        return book.reserve(self.wallet_id, self.job_id, self.amount_ms, self.ttl)


@dataclass(frozen=True)
class End:
    """Charge the hold of a job, or give it back for 0; withdraw it when the submit was not accepted after all."""

    workspace_id: str
    job_id: str
    billable_ms: int
    withdraw: bool = False

    def apply(self, book: Book) -> Held:
        """Raises HoldNotFound, HoldAlreadySettled, HoldAlreadyReleased."""
        return book.end(self.workspace_id, self.job_id, self.billable_ms, withdraw=self.withdraw)


Request = Reserve | End
Waiting = tuple[Request, asyncio.Future[Held]]


class Batches:
    """A bounded queue of requests, and the loop that answers them; use `open_batches`."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing
        self._queue: asyncio.Queue[Waiting | None] = asyncio.Queue(MOST_WAITING)

    async def submit(self, request: Request) -> Held:
        """The hold after the commit. Raises what the request raises, Overloaded, ServiceUnavailable."""
        answer: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((request, answer))
        except asyncio.QueueFull:
            raise Overloaded from None
        return await answer

    async def run(self) -> None:
        """Answer requests until `close`."""
        while (first := await self._queue.get()) is not None:
            batch = [first]
            while len(batch) < MOST_TOGETHER and not self._queue.empty():
                waiting = self._queue.get_nowait()
                if waiting is None:
                    await self._answer(batch)
                    return
                batch.append(waiting)
            await self._answer(batch)

    async def close(self) -> None:
        """Let the loop answer what waits and end."""
        await self._queue.put(None)

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        wanted = [(request, answer) for request, answer in batch if not answer.done()]
        try:
            outcomes = await retried(lambda: self._together([request for request, _ in wanted]))
        except Exception as error:
            if len(wanted) > 1 and not isinstance(error, Unavailable):
                # One of them is at fault, or another replica was faster with it; the others shall not suffer.
                for waiting in wanted:
                    await self._answer([waiting])
                return
            outcomes = [error for _ in wanted]
        for (_, answer), outcome in zip(wanted, outcomes, strict=True):
            _settle(answer, outcome)

    async def _together(self, requests: Sequence[Request]) -> list[Held | Exception]:
        reserves = [request for request in requests if isinstance(request, Reserve)]
        ending_ids = {request.job_id for request in requests if isinstance(request, End)}
        wallet_ids, job_ids = {item.wallet_id for item in reserves}, {item.job_id for item in reserves}
        async with self._billing.database.transaction() as session:
            book = await open_book(self._billing, session, wallet_ids, job_ids, ending_ids)
            outcomes = [_outcome(request, book) for request in requests]
            await write_book(session, book)
            fault.point("billing.batch.before_commit")
        fault.point("billing.batch.after_commit")
        if book.exhausted:
            self._billing.wake_relay()
        return outcomes


def _outcome(request: Request, book: Book) -> Held | Exception:
    try:
        return request.apply(book)
    except MeshError as refusal:
        return refusal


def _settle(answer: asyncio.Future[Held], outcome: Held | Exception) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


@asynccontextmanager
async def open_batches(billing: Billing) -> AsyncIterator[Batches]:
    """Batches that are answered until left; what waits then is answered first."""
    batches = Batches(billing)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(batches.run(), name="billing-batches")
        try:
            yield batches
        finally:
            await batches.close()
