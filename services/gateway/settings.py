"""Settings of the gateway."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, IPvAnyNetwork, field_validator

from services.gateway.hosts import read_contract_hosts
from services.mesh.egress.settings import EgressSettings
from services.mesh.settings import BusSettings, ServiceSettings, settings_config
from services.mesh.weaknesses import SecretFile, Web


class GatewaySettings(ServiceSettings, BusSettings, EgressSettings):
    """What the gateway reads from STENO_GATEWAY_*."""

    model_config = settings_config("STENO_GATEWAY_")

    port: int = Field(8000, ge=0, le=65535, description="Port of the public API; 0 takes a free one.")
    billing_address: str = Field("127.0.0.1:7001", description="HOST:PORT of billing's gRPC server.")
    storage_address: str = Field("127.0.0.1:7002", description="HOST:PORT of storage's gRPC server.")
    jobs_address: str = Field("127.0.0.1:7003", description="HOST:PORT of the jobs service's gRPC server.")
    inference_address: str = Field("127.0.0.1:7004", description="HOST:PORT of inference's gRPC server.")
    storage_data_url: str = Field("http://127.0.0.1:7012", description="Address of storage's data plane, from which playback is relayed.")
    upgrade_url: str = Field("/api/v1/credits", description="Where a caller without credit is sent; an operator puts a shop here.")

    contract_hosts: str = Field(
        "",
        validation_alias=AliasChoices("STENO_GATEWAY_CONTRACT_HOSTS", "STENO_CONTRACT_HOSTS"),
        description="Host names that stand for one contract, as HOST=CONTRACT,…: whipscribe, relay, icana, actionvibe or openai."
        " Also read from `STENO_CONTRACT_HOSTS`.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Networks (CIDR, a JSON list) of proxies whose X-Forwarded-For is believed when guests are told apart."
    )
    shared_rates: bool = Field(True, description="Count requests on the bus, for all gateways together; false counts in each alone.")

    max_upload_bytes: int = Field(2 * 1024**3, gt=0, description="Largest accepted media file in bytes; a plan may allow less.")
    max_uploads: int = Field(256, gt=0, description="Uploads in flight at once; more are told to come back.")
    max_event_streams: int = Field(1000, gt=0, description="Progress streams open at once; more are told to come back.")
    max_connections: int = Field(4000, gt=0, description="Open client connections; more are refused.")

    header_deadline_seconds: float = Field(9, gt=0, description="Seconds within which a request's headers must arrive.")
    body_deadline_seconds: float = Field(30, gt=0, description="Seconds without 1 KB/s of body after which the connection is closed.")
    idle_connection_seconds: int = Field(30, gt=0, description="Seconds that an idle connection is kept open between requests.")
    upload_stall_seconds: float = Field(10, gt=0, description="Seconds that storage may leave the bytes of an upload waiting.")
    commit_timeout_seconds: float = Field(120, gt=0, description="Seconds that storage may take to complete and probe an upload.")
    keepalive_seconds: float = Field(15, gt=0, description="Seconds of silence after which a progress stream sends a comment.")
    authentication_cache_seconds: float = Field(
        5, ge=0, description="Seconds that what billing says of a key, a user or a guest is remembered."
    )
    transcript_cache_bytes: int = Field(16 * 1024**2, ge=0, description="Bytes of finished transcripts kept in memory.")
    max_transcript_bytes: int = Field(256 * 1024**2, gt=0, description="Largest stored transcript in bytes that is read.")
    oidc_issuers_file: Path | None = Field(
        None, description="TOML file of the issuers whose tokens sign users in; none are trusted without it."
    )
    summary_chat_url: Annotated[str, Web()] = Field(
        "", description="Base URL of an OpenAI-compatible API that writes summaries; empty means extractive ones."
    )
    summary_chat_model: str = Field("default", description="Model that the chat endpoint is asked for.")
    summary_chat_key_file: Annotated[Path | None, SecretFile()] = Field(
        None, description="File with the bearer key of the chat endpoint; none where it needs none."
    )
    summary_chat_timeout_seconds: float = Field(20, gt=0, description="Seconds after which a summary is extractive instead.")
    summary_cache_entries: int = Field(1000, ge=1, description="Summaries kept in memory.")

    openai_models: dict[str, str] = Field(
        default_factory=dict, description="JSON object from a model name of the OpenAI contract to the deployed model it stands for."
    )
    openai_default_model: str = Field(
        "*", description="Deployed model that all other names stand for; * for the one inference prefers, empty to refuse them."
    )
    openai_retry_window_seconds: int = Field(
        600, gt=0, le=86_400, description="Seconds within which the same key, file and parameters find the first job."
    )
    openai_wait_seconds: float = Field(
        3600, gt=0, description="Seconds that a request of the OpenAI contract waits for its job before it is told to ask again."
    )

    @field_validator("contract_hosts")
    @classmethod
    def _names_contracts(cls, value: str) -> str:
        read_contract_hosts(value)
        return value

    def plain_text(self) -> list[str]:
        """With the data plane."""
        plain = urlsplit(self.storage_data_url).scheme != "https"
        return [*super().plain_text(), *(["STENO_GATEWAY_STORAGE_DATA_URL is not https: recordings go in plain text"] if plain else [])]
