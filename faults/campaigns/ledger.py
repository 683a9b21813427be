"""Billing's use cases against a model of plain integers, with months, races, wrong amounts and failing commits."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from faults.campaign import Figure, Options
from faults.failing_database import AnswerLost, FailingDatabase
from faults.ledger_model import ACCOUNTS, TOTALS, Terms, Wallet
from faults.ledger_replica import Replica, Request
from services.billing.usecases import ledger
from services.billing.usecases.batches import MOST_TOGETHER, open_batches
from services.billing.usecases.verification import Verifier, verify_ledger
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, Clock, Stage, open_stage
from tests.servers import new_postgres_database, postgres_server

SHORT, LONG = 3_000, 1_000_000
CHECKPOINTS = 20
BATCHES_AT_ONCE = (1, 2, 6)
WALLETS_PER_PLAN = 2
JOBS_PER_WALLET = 12
START = datetime(2026, 1, 31, tzinfo=UTC)
TERMS = {
    "small": Terms(100 * MINUTE_MS),
    "few": Terms(100 * MINUTE_MS, monthly_uploads=50),
    "priced": Terms(200 * MINUTE_MS, 50 * MINUTE_MS, overage_cents_per_minute=7),
    "debt": Terms(100 * MINUTE_MS, 50 * MINUTE_MS),
}


class Play:
    """The campaign under way: what was asked, what the model says, what was answered."""

    def __init__(self, stage: Stage, chance: random.Random, replicas: Sequence[Replica]) -> None:
        self.stage = stage
        self.chance = chance
        self.replicas = replicas
        self.wallets: dict[str, Wallet] = {}
        self.jobs: dict[str, list[str]] = {}
        self.answers: Counter[str] = Counter()
        self.operations = 0
        self.compared_accounts = 0
        self.checkpoints = 0
        # Turn by turn beside the load, as billing runs it; a whole look at the end says the same from nothing.
        self.verifier = Verifier(stage.billing, CHECKPOINTS / 4)

    @property
    def month(self) -> int:
        """The number of the clock's month."""
        return self.stage.clock.now.year * 12 + self.stage.clock.now.month

    @property
    def seconds(self) -> int:
        """The clock's time since the start."""
        return int((self.stage.clock.now - START).total_seconds())

    async def add_wallets(self) -> None:
        """Some of every plan, dealt out to the replicas."""
        for number, plan in enumerate(sorted(TERMS) * WALLETS_PER_PLAN):
            wallet_id = (await self.stage.workspace(plan)).id
            self.wallets[wallet_id] = Wallet(TERMS[plan], self.month)
            self.jobs[wallet_id] = [new_id() for _ in range(JOBS_PER_WALLET)]
            self.replicas[number // len(TERMS) % len(self.replicas)].wallet_ids.append(wallet_id)

    def expected(self, request: Request) -> str:
        """What the model answers, which it thereby does."""
        wallet = self.wallets[request.wallet_id]
        if request.kind == "settle":
            return wallet.end(request.job_id, request.amount_ms, self.month)
        if request.kind == "release":
            return wallet.end(request.job_id, 0, self.month, withdraw=True)
        if request.kind == "strange":
            wallet.begin(self.month)
            return "INVALID_FIELD"
        return wallet.reserve(request.job_id, request.amount_ms, self.month, now=self.seconds, ttl=request.ttl_seconds)

    async def round(self) -> None:
        """Some batches at every replica, all at the same time; then what is done alone."""
        size = MOST_TOGETHER * self.chance.choice(BATCHES_AT_ONCE)
        batches = [self._batch(replica, size) for replica in self.replicas]
        answered = await asyncio.gather(
            *(asyncio.gather(*map(replica.answer, batch)) for replica, batch in zip(self.replicas, batches, strict=True))
        )
        for replica, batch, answers in zip(self.replicas, batches, answered, strict=True):
            replica.unanswered = self._compare(batch, answers)
        if not any(replica.unanswered for replica in self.replicas):
            await self._alone()

    def _compare(self, batch: Sequence[Request], answers: Sequence[str | AnswerLost]) -> list[Request]:
        """Requests that were not answered; of those some were done, as the next answers must show."""
        unanswered = []
        for request, answer in zip(batch, answers, strict=True):
            if isinstance(answer, AnswerLost):
                unanswered.append(request)
                if answer.committed:
                    self.expected(request)
                continue
            self._check(request, answer)
        return unanswered

    def _check(self, request: Request, answer: str) -> None:
        expected = self.expected(request)
        assert answer == expected, f"operation {self.operations}: {request} answered {answer}, the model says {expected}"
        self.operations += 1
        self.answers[answer] += 1

    def _batch(self, replica: Replica, size: int) -> list[Request]:
        fresh = [self._request(replica) for _ in range(size - len(replica.unanswered))]
        return [*replica.unanswered, *fresh]

    def _request(self, replica: Replica) -> Request:
        wallet_id = self.chance.choice(replica.wallet_ids)
        job_id = self._job(wallet_id)
        # Most of what is not held yet is reserved, most of what is held ends.
        weights = (20, 12, 40, 10, 10, 1) if job_id in self.wallets[wallet_id].holds else (80, 10, 4, 1, 1, 1)
        match self.chance.choices(("reserve", "renew", "settle", "nothing", "release", "strange"), weights)[0]:
            case "reserve":
                return Request("reserve", wallet_id, job_id, self._amount_ms(15))
            case "renew":
                return Request("reserve", wallet_id, job_id, self._amount_ms(5), self.chance.randrange(1, 600))
            case "settle":
                return Request("settle", wallet_id, job_id, self._amount_ms(25))
            case "nothing":
                return Request("settle", wallet_id, job_id, 0)
            case "strange" if taken := self._taken_job(replica, wallet_id):
                return Request("strange", wallet_id, taken, self._amount_ms(70))
        return Request("release", wallet_id, job_id)

    def _amount_ms(self, most_minutes: int) -> int:
        return self.chance.choice((1, self.chance.randint(1, MINUTE_MS), self.chance.randint(1, most_minutes * MINUTE_MS)))

    def _job(self, wallet_id: str) -> str:
        """A job of the wallet; one that ended is asked for a few times more and then makes room for a new one."""
        number = self.chance.randrange(JOBS_PER_WALLET)
        hold = self.wallets[wallet_id].holds.get(self.jobs[wallet_id][number])
        if hold is not None and hold.state != "OPEN" and self.chance.random() < 0.4:
            self.jobs[wallet_id][number] = new_id()
        return self.jobs[wallet_id][number]

    def _taken_job(self, replica: Replica, wallet_id: str) -> str | None:
        others = (job_id for other in replica.wallet_ids if other != wallet_id for job_id in self.wallets[other].holds)
        return next(others, None)

    async def _alone(self) -> None:
        """Credit by hand, one job raced for by both replicas, and time."""
        await self._grant()
        await self._grant()
        await self._race()
        if self.chance.random() < 0.1:
            self._next_month()
        else:
            self.stage.clock.pass_by(seconds=self.chance.randrange(60))

    def _next_month(self) -> None:
        clock = self.stage.clock
        clock.now = (clock.now.replace(day=1) + timedelta(days=32)).replace(day=1)

    async def _overspend(self) -> None:
        """Let a wallet use all that it may in its month, so that it owes some of it when the month ends."""
        wallet_id, wallet = next((key, wallet) for key, wallet in self.wallets.items() if wallet.terms.overage_cents_per_minute)
        await ledger.get_balance(self.stage.billing, wallet_id)
        wallet.begin(self.month)
        amount_ms, job_id = wallet.available_ms + wallet.terms.overage_limit_ms, new_id()
        for kind in ("reserve", "settle") if amount_ms > 0 else ():
            request = Request(kind, wallet_id, job_id, amount_ms)
            self._check(request, await self.replicas[0].insist(request))
        self._next_month()

    async def _grant(self) -> None:
        # Those of the first half live on their plans alone.
        wallet_id = self.chance.choice(list(self.wallets)[len(TERMS) :])
        reference, amount_ms = self.chance.randrange(self.operations // 200 + 2), self._amount_ms(300)
        askers = [self.chance.choice(self.replicas) for _ in range(self.chance.choice((1, 1, 3)))]
        await asyncio.gather(*(asker.grant(wallet_id, amount_ms, f"order-{reference}") for asker in askers))
        self.wallets[wallet_id].grant(reference, amount_ms, self.month)
        self.operations += len(askers)

    async def _race(self) -> None:
        """A hold is charged at one replica and given back at the other, or taken at both."""
        wallet_id = self.chance.choice(list(self.wallets))
        job_id, amount_ms = self._job(wallet_id), self._amount_ms(60)
        pairs = (("settle", "release"), ("release", "settle"), ("reserve", "reserve"))
        racers = [Request(kind, wallet_id, job_id, amount_ms) for kind in self.chance.choice(pairs)]
        answers = await asyncio.gather(*(replica.insist(racer) for replica, racer in zip(self.replicas, racers, strict=True)))
        order = sorted(zip(racers, answers, strict=True), key=lambda outcome: outcome[1].startswith("HOLD_ALREADY"))
        for racer, answer in order:
            self._check(racer, answer)

    async def checkpoint(self) -> None:
        """After a month's end: all accounts, the balances and the month's usage are the model's."""
        self.checkpoints += 1
        await self._overspend()
        rows = await self.stage.rows(f"SELECT workspace_id, kind, {', '.join(TOTALS)} FROM account")  # noqa: S608
        found = {(str(row[0]), str(row[1])): row[2:] for row in rows}
        for wallet_id, wallet in self.wallets.items():
            for account, totals in wallet.accounts().items():
                stored = found[wallet_id, account]
                assert stored == totals, f"operation {self.operations}: {account} of {wallet_id} is {stored}, not {totals}"
            await self._compare_figures(wallet_id, wallet)
        assert len(found) == len(self.wallets) * len(ACCOUNTS)
        self.compared_accounts += len(found)
        verified = await self.verifier.turn()
        assert verified.is_sound, f"operation {self.operations}: {verified}"

    async def _compare_figures(self, wallet_id: str, wallet: Wallet) -> None:
        balance = await ledger.get_balance(self.stage.billing, wallet_id)
        wallet.begin(self.month)
        seen = (balance.available_ms, balance.held_ms, balance.used_ms, balance.granted_ms)
        assert seen == (wallet.available_ms, wallet.held_ms, wallet.used_ms, wallet.granted_ms), (self.operations, wallet_id)
        usage = await ledger.get_usage(self.stage.billing, wallet_id)
        cents = -(-wallet.overage_ms * wallet.terms.overage_cents_per_minute // MINUTE_MS)
        left_ms = max(0, min(wallet.terms.included_ms - wallet.used_ms, wallet.posted_ms("plan") + wallet.posted_ms("credit")))
        told = (usage.included_ms, usage.used_ms, usage.remaining_ms, usage.overage_ms, usage.overage_cents, usage.upload_count)
        expected = (wallet.terms.included_ms, wallet.used_ms, left_ms, wallet.overage_ms, cents, wallet.uploads[wallet.month])
        assert told == expected, (self.operations, wallet_id)

    async def compare_holds(self) -> int:
        """Every hold is the model's; answers how many there are."""
        rows = await self.stage.rows("SELECT job_id, workspace_id, state, amount_ms, settled_ms FROM hold")
        expected = {
            (job_id, wallet_id, hold.state, hold.amount_ms, hold.settled_ms)
            for wallet_id, wallet in self.wallets.items()
            for job_id, hold in wallet.holds.items()
        }
        assert set(rows) == expected
        return len(rows)


@contextmanager
def _database_url(options: Options) -> Iterator[str]:
    if options.database == "sqlite":
        yield f"sqlite+aiosqlite:///{options.folder}/billing.db"
        return
    with postgres_server() as server:
        yield new_postgres_database(server)


@asynccontextmanager
async def _playing(options: Options, url: str) -> AsyncIterator[Play]:
    clock, replicas = Clock(START), []
    async with AsyncExitStack() as stack:
        stages = [await stack.enter_async_context(open_stage(url, options.folder, clock)) for _ in range(2)]
        for number, stage in enumerate(stages):
            database = FailingDatabase(stage.billing.database, random.Random(f"{options.seed}:{number}"))
            billing = replace(stage.billing, database=database)
            replicas.append(Replica(billing, await stack.enter_async_context(open_batches(billing)), database, [], []))
        yield Play(stages[0], random.Random(options.seed), replicas)


async def _play(options: Options, url: str) -> list[Figure]:
    wanted = options.amount(SHORT, LONG)
    async with _playing(options, url) as play:
        await play.add_wallets()
        started, checked_seconds = time.monotonic(), 0.0
        every = max(wanted / CHECKPOINTS, 1_000)
        while play.operations < wanted:
            await play.round()
            if play.operations >= (play.checkpoints + 1) * every:
                checking = time.monotonic()
                await play.checkpoint()
                checked_seconds += time.monotonic() - checking
        seconds = time.monotonic() - started - checked_seconds
        await play.checkpoint()
        return [*_effort(play, seconds), *await _findings(play)]


def _effort(play: Play, seconds: float) -> Iterator[Figure]:
    failures = sum((replica.database.failures for replica in play.replicas), Counter[str]())
    yield Figure("operations", play.operations)
    yield Figure("operations a second", round(play.operations / seconds), unit="/s")
    yield from (Figure(f"answered {answer}", count) for answer, count in sorted(play.answers.items()))
    yield Figure("commits undone", failures["undone"], at_least=1)
    yield Figure("commits whose answer was lost", failures["lost and committed"] + failures["lost and undone"], at_least=1)
    yield Figure("checkpoints, all accounts equal to the model's", play.checkpoints, at_least=3)
    yield Figure("accounts compared", play.compared_accounts)


async def _findings(play: Play) -> list[Figure]:
    kinds = await play.stage.rows("SELECT kind, count(*) FROM transfer GROUP BY kind ORDER BY kind")
    found = await verify_ledger(play.stage.billing)
    return [
        *(Figure(f"transfers of kind {kind}", int(str(count)), at_least=1) for kind, count in kinds),
        Figure("kinds of transfer", len(kinds), at_least=6),
        Figure("holds equal to the model's", await play.compare_holds()),
        Figure("ledger imbalance", found.imbalance_ms, at_most=0, unit="ms"),
        Figure("accounts that differ from their transfers", found.wrong_account_count, at_most=0),
    ]


def run(options: Options) -> Sequence[Figure]:
    """Play as many operations as asked for on one database. Raises AssertionError where billing and the model part."""
    with _database_url(options) as url:
        return asyncio.run(_play(options, url))
