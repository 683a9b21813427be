"""The certificate of this service, read again while the service runs."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

import grpc

from services.mesh import semconv
from services.mesh.telemetry import get_logger
from services.mesh.tls.contexts import NewestContext
from services.mesh.tls.material import CertificateUnusable, Files, Material, read_material
from services.mesh.tls.settings import TlsSettings

EVERY_SECONDS = 5.0
_SOON_SECONDS = 6 * 3600.0
_SAID_EVERY_SECONDS = 600.0


class Certificates:
    """What this service shows and whom it trusts, at the moment. `current` is replaced as a whole."""

    def __init__(self, files: Files, current: Material) -> None:
        self._files = files
        self._refused = ""
        self._said = False
        self._downloads = False
        self._logger = get_logger("mesh.tls")
        self.current = current
        semconv.CERTIFICATE_END_TIME_SECONDS.labels(current.identity).set(current.ends.timestamp())

    @classmethod
    def read(cls, files: Files) -> Self:
        """Those in the files. Raises CertificateUnusable."""
        return cls(files, read_material(files))

    @property
    def trust_domain(self) -> str:
        """What the identities of all parts of the mesh begin with."""
        return self._files.trust_domain

    def server_context(self) -> ssl.SSLContext:
        """For a server whose clients must show a certificate; always the newest."""
        return NewestContext.of(lambda: self.current.server, ssl.PROTOCOL_TLS_SERVER)

    def client_context(self) -> ssl.SSLContext:
        """For calling servers of the mesh; always the newest."""
        return NewestContext.of(lambda: self.current.client, ssl.PROTOCOL_TLS_CLIENT)

    def downloads_context(self) -> ssl.SSLContext:
        """As `client_context`, for servers of others too, such as a bucket's. Raises CertificateUnusable."""
        if not self._downloads:
            self._downloads = True
            self.current = self._read()
        return NewestContext.of(lambda: self.current.downloads or self.current.client, ssl.PROTOCOL_TLS_CLIENT)

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC server whose clients must show a certificate; the core library asks for the newest at every handshake."""
        told = self.current

        def newest() -> grpc.ServerCertificateConfiguration | None:
            nonlocal told
            if self.current is told:
                return None
            told = self.current
            return _configuration(told)

        # The stubs do not know that None says: as before.
        return grpc.dynamic_ssl_server_credentials(_configuration(told), newest, require_client_authentication=True)  # type: ignore[arg-type]

    def channel_credentials(self, authority: bytes | None = None) -> grpc.ChannelCredentials:
        """For one gRPC channel, of this moment. authority: PEM of whom to trust instead of the mesh's."""
        chain, key, trusted = self.current.content
        return grpc.ssl_channel_credentials(authority or trusted, key, chain)

    def refresh(self) -> None:
        """Read the files again; what cannot be used is told and leaves everything as it is."""
        try:
            if self._files.read() == self.current.content:
                self._forget_refusal()
                return
            self.current = self._read()
        except CertificateUnusable as error:
            self._refuse(str(error))
            return
        self._forget_refusal()
        semconv.CERTIFICATE_END_TIME_SECONDS.labels(self.current.identity).set(self.current.ends.timestamp())
        self._logger.info("certificate renewed", identity=self.current.identity, ends=self.current.ends.isoformat())

    def _read(self) -> Material:
        """Raises CertificateUnusable, also for another identity."""
        material = read_material(self._files, downloads=self._downloads)
        if material.identity != self.current.identity:
            raise CertificateUnusable(f"the new certificate is for {material.identity}, the old for {self.current.identity}")
        return material

    def _forget_refusal(self) -> None:
        self._refused, self._said = "", False

    def _refuse(self, reason: str) -> None:
        # At first sight it may be half written.
        said, self._said = self._said, reason == self._refused
        self._refused = reason
        if self._said and not said:
            semconv.CERTIFICATES_REFUSED.inc()
            self._logger.error("new certificate refused, the old one stays", reason=reason, seconds_left=round(self.seconds_left()))

    def seconds_left(self) -> float:
        """Until the certificate ends; negative once it has."""
        return (self.current.ends - datetime.now(UTC)).total_seconds()

    async def keep(self, every_seconds: float) -> None:
        """Refresh, and warn of the end, until cancelled."""
        warned = -_SAID_EVERY_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every_seconds)
            await asyncio.to_thread(self.refresh)
            if self.seconds_left() < _SOON_SECONDS and loop.time() - warned >= _SAID_EVERY_SECONDS:
                warned = loop.time()
                self._logger.error("certificate ends soon", seconds_left=round(self.seconds_left()))


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    chain, key, authority = material.content
    return grpc.ssl_server_certificate_configuration([(key, chain)], authority)


def read_certificates(settings: TlsSettings) -> Certificates | None:
    """Those that the settings name, None without TLS. Raises CertificateUnusable."""
    if settings.tls_files is None:
        return None
    return Certificates.read(Files(*settings.tls_files, settings.tls_trust_domain))


@asynccontextmanager
async def open_certificates(settings: TlsSettings, *, every_seconds: float = EVERY_SECONDS) -> AsyncIterator[Certificates | None]:
    """The same, kept up to date while the block runs."""
    certificates = read_certificates(settings)
    if certificates is None:
        yield None
        return
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(certificates.keep(every_seconds), name="certificates")
        try:
            yield certificates
        finally:
            keeping.cancel()
