"""A public contract: where it is mounted, what it can do, how it says no."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.types import Scope

from services.gateway.operation import OpenOperation, Operation
from services.gateway.refusals import ContractErrors


@dataclass(frozen=True)
class Contract:
    """One dialect of REST.

    name: as in settings, rate classes and documents. prefixes: where it is mounted, the documented one first; an operation's
    path follows. owns: further beginnings of paths below which unknown addresses are refused in this dialect. identity_headers:
    what every operation with a key reads beside it to tell whom it acts for. counted_as: the contract whose rates its requests
    count against, its own unless given.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]
    operations: Sequence[Operation | OpenOperation]
    errors: ContractErrors
    owns: tuple[str, ...] = ()
    identity_headers: type[BaseModel] | None = None
    counted_as: str = ""

    def speaks(self, path: str) -> int:
        """How much of a path's beginning is this contract's: 0 when it is not."""
        beginnings = (*self.prefixes, *self.owns)
        return max((len(start) for start in beginnings if path == start or path.startswith(start.rstrip("/") + "/")), default=0)


def contract_of(scope: Scope, contracts: Iterable[Contract], default: Contract) -> Contract:
    """The contract in whose words a request is refused: the one with the longest prefix of its path."""
    best = max(contracts, key=lambda contract: contract.speaks(scope["path"]))
    return best if best.speaks(scope["path"]) else default
