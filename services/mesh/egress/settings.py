"""What services read that take URLs from others or fetch them."""

import ssl
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from services.mesh.egress.addresses import NetworkPolicy, read_policy


class NetworkPolicySettings(BaseSettings):
    """Where URLs given by others may lead; the same in every service that asks."""

    egress_allowed_networks: str = Field(
        "", description="Networks in CIDR notation, separated by commas, that URLs may lead to though they are not public."
    )

    @field_validator("egress_allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        read_policy(_split(text))
        return text

    def network_policy(self) -> NetworkPolicy:
        """The policy that the settings make."""
        return read_policy(_split(self.egress_allowed_networks))


class EgressSettings(NetworkPolicySettings):
    """What a service needs to fetch."""

    egress_ca_file: Path | None = Field(
        None, description="Certificate authorities (PEM file) that fetches trust; empty means the machine's."
    )

    def egress_trust(self) -> ssl.SSLContext | None:
        """Whom to trust; None for the machine's authorities. Raises OSError and ssl.SSLError."""
        return ssl.create_default_context(cafile=str(self.egress_ca_file)) if self.egress_ca_file else None


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part.strip()]
