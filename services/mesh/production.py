"""What the production profile refuses: every weak setting, told together, each with its cure."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from services.mesh import fault
from services.mesh.durability import NoAnswer, ask_nats
from services.mesh.exposure import exposure_weaknesses
from services.mesh.secrecy import secrecy_weaknesses
from services.mesh.settings import BusSettings, DatabaseSettings, ServiceSettings, UnusableSettings
from services.mesh.sqlite_file import UnfitFile
from services.mesh.telemetry import get_logger
from services.mesh.weaknesses import Weakness, variable_name

_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 2.0
# Once something is wrong, the servers that have not answered yet get so long to add what is wrong with them.
_HURRY_SECONDS = 5.0


@dataclass(eq=False)
class Inquiry:
    """A question to a server. ask raises NoAnswer while the server does not answer, for the reason in `silence`."""

    setting: str
    ask: Callable[[], Awaitable[list[Weakness]]]
    silence: str = "it takes too long"


@dataclass(frozen=True)
class Verdict:
    """What is refused, and what the operator accepted by name."""

    refused: tuple[Weakness, ...]
    accepted: tuple[Weakness, ...]


async def require_production(settings: ServiceSettings, stopping: asyncio.Event) -> None:
    """Wait until the servers answered, or `stopping`. Raises UnusableSettings with all that was not accepted.

    A server that is not up yet is waited for, unless something else is wrong already.
    """
    verdict = await examine(settings, inquiries(settings), stopping)
    for weakness in verdict.accepted:
        get_logger("mesh.production").warning("risk accepted", risk=weakness.risk, weakness=weakness.sentence)
    if verdict.refused:
        raise UnusableSettings(*(weakness.sentence for weakness in verdict.refused))


async def examine(
    settings: ServiceSettings, questions: Sequence[Inquiry], stopping: asyncio.Event, *, patience_seconds: float | None = None
) -> Verdict:
    """Everything that is weak. patience_seconds: to wait for the next server's answer; None for ever, until something is refused."""
    standing = standing_weaknesses(settings)
    refused = [weakness for weakness in standing if not _is_accepted(settings, weakness)]
    patience_seconds = _HURRY_SECONDS if refused and patience_seconds is None else patience_seconds
    found = [*standing, *await ask_servers(questions, stopping, patience_seconds=patience_seconds)]
    accepted = [weakness for weakness in found if _is_accepted(settings, weakness)]
    return Verdict(tuple(weakness for weakness in found if weakness not in accepted), tuple(accepted))


def _is_accepted(settings: ServiceSettings, weakness: Weakness) -> bool:
    return weakness.risk is not None and weakness.risk in settings.accepted_risks


def standing_weaknesses(settings: ServiceSettings) -> list[Weakness]:
    """What settings, files and environment tell without any server."""
    found = [*exposure_weaknesses(settings), *secrecy_weaknesses(settings)]
    if fault.is_armed():
        found.append(Weakness(f"{fault.VARIABLE} is set: crash points are for tests; unset it"))
    if isinstance(settings, BusSettings) and not settings.nats_monitor_url:
        name = variable_name(settings, "nats_monitor_url")
        sentence = f"{name} is not set, so that nothing proves that nats-server syncs what it acknowledges; set it to http://HOST:8222"
        found.append(Weakness(sentence, "bus_durability"))
    return found


def inquiries(settings: ServiceSettings) -> list[Inquiry]:
    """What the servers are asked that the service relies on."""
    return [*_database_inquiries(settings), *_nats_inquiries(settings)]


def _database_inquiries(settings: ServiceSettings) -> Iterator[Inquiry]:
    if isinstance(settings, DatabaseSettings):
        # Imported here: SQLAlchemy is 19 MB, which the gateway and inference do without.
        from services.mesh.database_durability import ask_database

        name = variable_name(settings, "database_url")
        yield Inquiry(name, partial(ask_database, name, settings.database_url, _schema(settings)))


def _nats_inquiries(settings: ServiceSettings) -> Iterator[Inquiry]:
    authority_file = settings.tls_authority_file
    if isinstance(settings, BusSettings):
        name = variable_name(settings, "nats_monitor_url")
        for url in filter(None, (part.strip() for part in settings.nats_monitor_url.split(","))):
            yield Inquiry(name, partial(ask_nats, name, url, authority_file))


def _schema(settings: ServiceSettings) -> str:
    return variable_name(settings, "").removeprefix("STENO_").rstrip("_").lower()


async def ask_servers(questions: Sequence[Inquiry], stopping: asyncio.Event, *, patience_seconds: float | None) -> list[Weakness]:
    """What all of them answer, asked at once until `stopping`. patience_seconds: to wait for the next answer; None for ever."""
    found: list[Weakness] = []
    stop = asyncio.create_task(stopping.wait())
    pending = {asyncio.create_task(_patiently(question)): question for question in questions}
    try:
        while pending and not stopping.is_set():
            limit = _HURRY_SECONDS if found and patience_seconds is None else patience_seconds
            done, _ = await asyncio.wait({*pending, stop}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in pending if task in done]:
                del pending[task]
                found.extend(task.result())
            if not done:
                return [*found, *(_silent(question) for question in pending.values())]
        return found
    finally:
        await _cancel({*pending, stop})


async def _patiently(question: Inquiry) -> list[Weakness]:
    delay = _FIRST_DELAY_SECONDS
    while True:
        try:
            return await question.ask()
        except NoAnswer as error:
            question.silence = str(error)
            get_logger("mesh.production").warning("server does not answer yet", setting=question.setting, error=question.silence)
        except (UnfitFile, ValueError, OSError) as error:
            return [Weakness(f"{question.setting}: {error}")]
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)


def _silent(question: Inquiry) -> Weakness:
    sentence = f"{question.setting}: the server does not answer ({question.silence}), so that nothing is known of it"
    return Weakness(f"{sentence}; start it, or correct the address")


async def _cancel(tasks: "set[asyncio.Task[list[Weakness]] | asyncio.Task[bool]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
