"""SSL contexts that are always those of the newest certificate, for libraries that keep the one they were given."""

import ssl
from collections.abc import Callable
from typing import Any, Self


class NewestContext(ssl.SSLContext):
    """Hands every new connection to the context of the moment; connections that stand stay as they are.

    For asyncio and uvloop, which make connections by `wrap_bio` alone. A context whose chain is loaded anew
    would keep trusting an authority that was removed.
    """

    _newest: Callable[[], ssl.SSLContext]

    @classmethod
    def of(cls, newest: Callable[[], ssl.SSLContext], protocol: int) -> Self:
        """One that asks `newest`; protocol: ssl.PROTOCOL_TLS_SERVER or _CLIENT."""
        made = cls(protocol)
        made.verify_mode = ssl.CERT_REQUIRED
        made._newest = newest
        return made

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As the context of the moment does."""
        return self._newest().wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As the context of the moment does."""
        return self._newest().wrap_socket(*arguments, **options)
