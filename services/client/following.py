"""Following a job to its end: by server-sent events, resumed where they broke off, and by asking in between."""

import random
import time
from collections.abc import Callable

from services.client.api import Api, Row, job_path
from services.client.failures import Refused, Unreachable
from services.client.polling import FINAL_STATUSES, FIRST_WAIT_SECONDS, PATIENCE_SECONDS, POLL_SECONDS

ENDED = frozenset({"done", "failed", "cancelled"})

OnChange = Callable[[Row], None]


def follow(api: Api, job_id: str, on_change: OnChange, *, patience_seconds: float = PATIENCE_SECONDS) -> Row:
    """The job once it has ended; on_change hears every state on the way.

    Raises Refused, and Unreachable when the server has not answered for patience_seconds.
    """
    return _Follower(api, job_id, on_change, patience_seconds).follow()


class _Follower:
    def __init__(self, api: Api, job_id: str, on_change: OnChange, patience_seconds: float) -> None:
        self._api = api
        self._path = job_path(job_id)
        self._on_change = on_change
        self._patience_seconds = patience_seconds
        self._last_event_id = ""
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._heard = time.monotonic()

    def follow(self) -> Row:
        while True:
            self._listen()
            job = self._ask()
            if job is not None and job.get("status") in ENDED:
                return job
            time.sleep(self._wait_seconds * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)
            self._wait_seconds = min(POLL_SECONDS, self._wait_seconds * 2)

    def _listen(self) -> None:
        """Hear events until the job has ended or the stream has."""
        try:
            for event in self._api.events(f"{self._path}/events", self._last_event_id):
                self._last_event_id = event.id or self._last_event_id
                self._wait_seconds = FIRST_WAIT_SECONDS
                self._heard = time.monotonic()
                if "status" in event.data:
                    self._on_change(event.data)
                if event.data.get("status") in ENDED:
                    return
        except (Refused, Unreachable):
            # `_ask` says whether it was the job, the server or only the stream.
            return

    def _ask(self) -> Row | None:
        """The job now; None while the server does not answer."""
        try:
            job: Row = self._api.get(self._path)
        except (Refused, Unreachable) as error:
            if isinstance(error, Refused) and error.status in FINAL_STATUSES:
                raise
            if time.monotonic() - self._heard > self._patience_seconds:
                raise
            return None
        self._heard = time.monotonic()
        self._on_change(job)
        return job
