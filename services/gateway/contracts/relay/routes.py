"""The Relay contract's operations: so far those of the account."""

from dataclasses import dataclass

from services.gateway.contract import Contract
from services.gateway.contracts.native import schemas
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.relay.errors import relay_errors
from services.gateway.domain import Reason
from services.gateway.operation import Answer, Body, Operation, RateKind
from services.mesh.identity import Scope

PREFIX = "/relay/api/v1"


@dataclass(frozen=True)
class Relay:
    """The Relay contract over its parts. accounts: the native contract's, which serves the same paths."""

    accounts: Accounts

    def contract(self) -> Contract:
        """What it can do, and where."""
        operations = [self._list_keys(), self._create_key(), self._revoke_key()]
        return Contract("relay", "Relay", (PREFIX,), operations, relay_errors(), owns=("/relay",))

    def _list_keys(self) -> Operation:
        return Operation(
            "GET",
            "/auth/api-keys",
            "relay_list_api_keys",
            "The workspace's API keys",
            self.accounts.list_keys,
            {200: Answer("Every key, newest first.", schemas.KeyRow, is_list=True)},
            (Reason.FORBIDDEN,),
            scope=Scope.ADMIN,
            rate=RateKind.TOKENS,
        )

    def _create_key(self) -> Operation:
        return Operation(
            "POST",
            "/auth/api-keys",
            "relay_create_api_key",
            "Make an API key",
            self.accounts.create_key,
            {201: Answer("The key with its secret, shown this once.", schemas.CreatedKey)},
            (Reason.BAD_REQUEST, Reason.BAD_FIELD, Reason.FORBIDDEN),
            Body(schemas.NewKey),
            scope=Scope.ADMIN,
            rate=RateKind.TOKENS,
        )

    def _revoke_key(self) -> Operation:
        return Operation(
            "DELETE",
            "/auth/api-keys/{key_id}",
            "relay_revoke_api_key",
            "End an API key",
            self.accounts.revoke_key,
            {204: Answer("It has ended.")},
            (Reason.BAD_ID, "API_KEY_NOT_FOUND", Reason.FORBIDDEN),
            scope=Scope.ADMIN,
            rate=RateKind.TOKENS,
        )
