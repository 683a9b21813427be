"""The hub, by its own library: HF_ENDPOINT, HF_TOKEN and the rest mean what they mean everywhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from services.client.failures import CommandFailed
from services.models_cli.downloading import Download, download
from services.models_cli.source import Offer, OfferedFile, Told

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.hf_api import RepoSibling

_TIMEOUT_SECONDS = 30.0
_SILENT = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK", "HF_HUB_DISABLE_PROGRESS_BARS")
_UNKNOWN = "unknown"


def hush() -> None:
    """Have the library tell nobody what runs here; it reads the environment once, on import."""
    for name in _SILENT:
        os.environ.setdefault(name, "1")


class HubSource:
    """One repository at one revision."""

    def __init__(self, repository: str, revision: str) -> None:
        self._repository = repository
        self._revision = revision or "main"

    def offer(self) -> Offer:
        """Raises CommandFailed."""
        from huggingface_hub import HfApi

        with explained(self._repository, self._revision):
            api = HfApi(library_name="steno")
            info = api.model_info(self._repository, revision=self._revision, files_metadata=True, timeout=_TIMEOUT_SECONDS)
            beside = [sibling for sibling in info.siblings or () if "/" not in sibling.rfilename]
            files = {sibling.rfilename: self._file(sibling, info.sha or self._revision) for sibling in beside}
        return Offer(self._repository, info.sha or "", _licence(info), files)

    def fetch(self, offer: Offer, name: str, target: Path, told: Told) -> None:
        """Goes on where an earlier try ended. Raises CommandFailed."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(self._repository, name, revision=offer.revision or self._revision)
        headers = build_hf_headers(library_name="steno") | {"accept-encoding": "identity"}
        with explained(self._repository, self._revision):
            download(Download(url, headers, offer.files[name], target), told)

    def _file(self, sibling: "RepoSibling", revision: str) -> OfferedFile:
        """With its digest; mirrors that list names alone are asked for each file."""
        if sibling.lfs is not None:
            return OfferedFile(sibling.lfs.size, sibling.lfs.sha256)
        if sibling.size is not None:
            return OfferedFile(sibling.size, sibling.blob_id or "")
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        found = get_hf_file_metadata(hf_hub_url(self._repository, sibling.rfilename, revision=revision), timeout=_TIMEOUT_SECONDS)
        return OfferedFile(found.size or 0, found.etag or "")


def _licence(info: "ModelInfo") -> str:
    card = info.card_data
    return str(card.get("license") or _UNKNOWN) if card is not None else _UNKNOWN


@contextmanager
def explained(repository: str, revision: str) -> Iterator[None]:
    """Failures of the hub as sentences."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError as error:
        raise CommandFailed(
            f"{repository} is gated: accept its terms on {hub}/{repository}, then set HF_TOKEN to a token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CommandFailed(
            f"{hub} has no {repository}, or it is private: check the name, or set HF_TOKEN to a token that may read it"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CommandFailed(f"{repository} has no revision {revision}") from error
    except errors.OfflineModeIsEnabled as error:
        raise CommandFailed("HF_HUB_OFFLINE is set, so nothing is fetched: pull from a folder, or with --offline-directory") from error
    except errors.HfHubHTTPError as error:
        raise CommandFailed(_refusal(error, hub, repository)) from error
    except httpx2.TransportError as error:
        raise CommandFailed(
            f"{hub} cannot be reached ({error or type(error).__name__}): try again, the download goes on where it ended;"
            " without a network, pull from a folder or with --offline-directory"
        ) from error


def _refusal(error: httpx2.HTTPStatusError | Exception, hub: str, repository: str) -> str:
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    if status in (401, 403):
        return f"{hub} refuses {repository} with {status}: set HF_TOKEN to a valid token of an account that may read it"
    return f"{hub} answered {status} for {repository}; try again later"
