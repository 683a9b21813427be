"""`steno keys` and `steno me`: who may call, and who the server sees."""

from urllib.parse import quote

from services.client.api import Row, open_api
from services.client.display import local_time, print_fields, print_json, print_table, say

_PATH = "/auth/api-keys"
_COLUMNS = ("KEY", "NAME", "KIND", "STARTS WITH", "CREATED", "EXPIRES", "LAST USED")


def create_key(name: str, kind: str, test: bool, expires_at: str, scopes: list[str], as_json: bool) -> None:
    """Make a key and print its secret, the only time that it is shown. Raises CommandFailed."""
    body: Row = {"name": name, "kind": kind, "test": test}
    if expires_at:
        body["expires_at"] = expires_at
    if scopes:
        body["scopes"] = scopes
    with open_api() as api:
        key = api.post(_PATH, body)
    if as_json:
        print_json(key)
        return
    print(key["key"])
    say(f"Key {key['id']} ({name}) is made. Keep the secret above: it is not shown again.")


def list_keys(as_json: bool) -> None:
    """Print the keys of the workspace, without their secrets. Raises CommandFailed."""
    with open_api() as api:
        keys = api.get(_PATH)
    if as_json:
        print_json(keys)
    else:
        print_table(_COLUMNS, [_cells(key) for key in keys])


def revoke_key(key_id: str) -> None:
    """End a key for good. Raises CommandFailed."""
    with open_api() as api:
        api.delete(f"{_PATH}/{quote(key_id, safe='')}")
    say(f"Key {key_id} is revoked.")


def show_me(as_json: bool) -> None:
    """Print who the server sees. Raises CommandFailed."""
    with open_api() as api:
        me = api.get("/me")
    if as_json:
        print_json(me)
    else:
        print_fields(me)


def _cells(key: Row) -> tuple[str, ...]:
    text = [str(key.get(name) or "") for name in ("id", "name", "kind", "key_prefix")]
    return (*text, *(local_time(key.get(name)) for name in ("created_at", "expires_at", "last_used_at")))
