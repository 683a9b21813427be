"""What every use case of billing works with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement

from services.billing.plans import Plans
from services.mesh.database import Database


@dataclass(frozen=True)
class Billing:
    """What the use cases need. `clock` is the SQL for the time now; `wake_relay` sends what was put in the outbox."""

    database: Database
    plans: Plans
    pepper: bytes
    clock: ColumnElement[datetime]
    wake_relay: Callable[[], None]
