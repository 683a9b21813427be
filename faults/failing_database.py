"""A database whose commits fail: undone, or done with the answer lost."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh.database import Database
from services.mesh.errors import ServiceUnavailable

UNDONE_SHARE = 0.04
LOST_SHARE = 0.06


class AnswerLost(ServiceUnavailable):
    """The database did not confirm the commit. committed: whether it committed, which no service can know."""

    def __init__(self, *, committed: bool) -> None:
        super().__init__(outcome="unknown")
        self.committed = committed


class FailingDatabase(Database):
    """The real database behind another, some of whose transactions fail when they are about to commit or have just committed."""

    def __init__(self, real: Database, chance: random.Random) -> None:
        super().__init__(real._engines, real.dialect, real.schema)
        self.failures: Counter[str] = Counter()
        self._chance = chance

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """As of every database. Raises AnswerLost besides."""
        drawn = self._chance.random()
        committed = drawn < LOST_SHARE / 2
        async with super().transaction() as session:
            yield session
            if LOST_SHARE / 2 <= drawn < LOST_SHARE:
                self.failures["lost and undone"] += 1
                raise AnswerLost(committed=False)
            if LOST_SHARE <= drawn < LOST_SHARE + UNDONE_SHARE:
                self.failures["undone"] += 1
                raise ServiceUnavailable(outcome="rolled_back")
        if committed:
            self.failures["lost and committed"] += 1
            raise AnswerLost(committed=True)
