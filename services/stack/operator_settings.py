"""What the operator's commands read, where the mesh spans several machines."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.mesh.settings import settings_config
from services.mesh.tls.settings import TlsSettings
from services.mesh.weaknesses import SecretFile


class OperatorSettings(TlsSettings):
    """Read from STENO_OPERATOR_*; the certificate is the one of `operator`."""

    model_config = settings_config("STENO_OPERATOR_")

    billing_address: str = Field("", description="host:port of billing; empty means that of the `steno up` on the data folder.")
    identity_key_file: Annotated[Path | None, SecretFile()] = Field(
        None, description="Ed25519 private key (PEM) of the mesh; unset means that in the data folder."
    )
