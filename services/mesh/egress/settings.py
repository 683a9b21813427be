"""What every service that fetches from the outside reads."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from services.mesh.egress.addresses import NetworkPolicy, read_policy


class EgressSettings(BaseSettings):
    """Where URLs given by others may lead."""

    egress_allowed_networks: str = Field(
        "", description="Networks in CIDR notation, separated by commas, that URLs may lead to though they are not public."
    )
    egress_ca_file: Path | None = Field(
        None, description="Certificate authorities (PEM file) that fetches trust; empty means the machine's."
    )

    @field_validator("egress_allowed_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        read_policy(_split(text))
        return text

    def network_policy(self) -> NetworkPolicy:
        """The policy that the settings make."""
        return read_policy(_split(self.egress_allowed_networks))


def _split(text: str) -> list[str]:
    return [part for part in text.split(",") if part.strip()]
