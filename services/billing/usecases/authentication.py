"""Who holds a secret."""

from dataclasses import dataclass
from datetime import datetime

from services.billing import keys
from services.billing.store import accounts
from services.billing.store.tables import ApiKey, Workspace
from services.billing.usecases.billing import Billing
from services.mesh import fault
from services.mesh.errors import InvalidApiKey
from services.mesh.identity import Caller, CallerKind
from steno.billing.v1.api_key_pb2 import ApiKey as ApiKeyProto

MOST_NOTED_KEYS = 10_000


@dataclass(frozen=True)
class Holder:
    """A key that works, and its workspace."""

    api_key: ApiKey
    workspace: Workspace

    def caller(self) -> Caller:
        """The caller that a request with this key acts for."""
        app = self.api_key.kind == ApiKeyProto.KIND_APP
        return Caller(
            kind=CallerKind.GUEST if app else CallerKind.KEY,
            service="billing",
            workspace_id=self.workspace.id,
            owner=f"guest:{self.api_key.id}" if app else "workspace",
            key_id=self.api_key.id,
            scopes=tuple(self.api_key.scopes),
        )


class KeyUses:
    """Uses of keys, to the minute, until a worker stores them: so that authenticating never writes.

    A use is a hint for people; past 10,000 keys between two stores, more are forgotten rather than kept in memory.
    """

    def __init__(self) -> None:
        self._uses: dict[str, datetime] = {}

    def note(self, key: ApiKey, now: datetime) -> None:
        """Note a use, unless this minute's is stored or noted."""
        minute = now.replace(second=0, microsecond=0)
        if key.last_use_time is not None and key.last_use_time >= minute:
            return
        if key.id in self._uses or len(self._uses) < MOST_NOTED_KEYS:
            self._uses[key.id] = minute

    def take(self) -> dict[str, datetime]:
        """The uses noted since the last take."""
        uses, self._uses = self._uses, {}
        return uses


async def authenticate(billing: Billing, uses: KeyUses, secret: str) -> Holder:
    """The holder of a secret. Raises InvalidApiKey, for an unknown, revoked or expired one alike."""
    if not keys.is_plausible(secret):
        raise InvalidApiKey
    async with billing.database.reading() as session:
        found = await accounts.find_by_digest(session, keys.digest(billing.pepper, secret), billing.clock)
    if found is None:
        raise InvalidApiKey
    key, workspace, now = found
    if key.revoke_time is not None or (key.expire_time is not None and key.expire_time <= now):
        raise InvalidApiKey
    uses.note(key, now)
    return Holder(key, workspace)


async def store_uses(billing: Billing, uses: KeyUses) -> None:
    """Store the uses noted so far."""
    if noted := uses.take():
        async with billing.database.transaction() as session:
            await accounts.note_uses(session, noted)
            fault.point("billing.note_uses.before_commit")
