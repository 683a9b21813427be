"""Every API key of the caller's workspace."""

from steno.billing.v1.accounts_service_pb2 import ListApiKeysRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub
from steno.billing.v1.api_key_pb2 import ApiKey

_PAGE_SIZE = 1000
_MAX_KEYS = 10_000


async def list_all_keys(accounts: AccountsServiceAsyncStub) -> list[ApiKey]:
    """The newest ten thousand keys, revoked ones left out. Raises RemoteError."""
    keys: list[ApiKey] = []
    token = ""
    while len(keys) < _MAX_KEYS:
        page = await accounts.ListApiKeys(ListApiKeysRequest(page_size=_PAGE_SIZE, page_token=token))
        keys += page.api_keys
        token = page.next_page_token
        if not token:
            break
    return keys
