"""Artefacts that claims of jobs store results and checkpoints in, from before their bytes are there until the job ends."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.statements import execute
from services.jobs.store.tables import AnnouncedArtefact
from services.mesh.columns import dialect_of, table_of

ANNOUNCED = table_of(AnnouncedArtefact)


async def announce_artefact(session: AsyncSession, job_id: str, artefact_id: str) -> None:
    """A claim of the job will store its result there; saying it twice is saying it once. The caller holds the job."""
    dialect = sqlite if dialect_of(session) == "sqlite" else postgresql
    statement = dialect.insert(ANNOUNCED).values(job_id=job_id, artefact_id=artefact_id)
    await execute(session, statement.on_conflict_do_nothing())


async def take_announced(session: AsyncSession, job_id: str) -> set[str]:
    """All that the job's claims announced, forgotten here from now on."""
    announced = delete(ANNOUNCED).where(ANNOUNCED.c.job_id == job_id).returning(ANNOUNCED.c.artefact_id)
    return set((await execute(session, announced)).scalars())


async def take_all_announced(session: AsyncSession, job_ids: Collection[str]) -> Sequence[Row[Any]]:
    """The same for many jobs, as `job_id` and `artefact_id`."""
    announced = delete(ANNOUNCED).where(ANNOUNCED.c.job_id.in_(list(job_ids)))
    return (await execute(session, announced.returning(ANNOUNCED.c.job_id, ANNOUNCED.c.artefact_id))).all()
