"""Which of a source's files a model needs."""

from collections.abc import Iterable
from pathlib import Path

from services.client.failures import CommandFailed
from services.inference.models.catalogue.checkpoint import NEEDED, WELCOME, no_safetensors, shards_of
from services.inference.models.whisper.architecture import INDEX_FILE, SINGLE_FILE, UnsupportedModel
from services.models_cli.source import Offer

# The largest tokenizers have a few megabytes.
_MOST_BYTES = 64 << 20


def first_files(offer: Offer) -> list[str]:
    """What to fetch before the weights, small things all. Raises CommandFailed when the source has no model for us."""
    names = set(offer.files)
    if not {SINGLE_FILE, INDEX_FILE} & names:
        raise CommandFailed(no_safetensors(offer.source, names))
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise CommandFailed(
            f"{offer.source} lacks {', '.join(missing)}: it is no Whisper model in the layout of transformers 4.27 or later"
        )
    index = [] if SINGLE_FILE in names else [INDEX_FILE]
    found = [*NEEDED, *(name for name in WELCOME if name in names), *index]
    for name in found:
        if not 0 <= offer.files[name].size <= _MOST_BYTES:
            raise CommandFailed(f"{offer.source} has a {name} of {offer.files[name].size:,} bytes: that is no Whisper model's")
    return found


def weights_of(offer: Offer, folder: Path) -> list[str]:
    """The weight files, once the first files lie in the folder. Raises CommandFailed."""
    if SINGLE_FILE in offer.files:
        return [SINGLE_FILE]
    try:
        shards = shards_of(folder / INDEX_FILE)
    except UnsupportedModel as error:
        raise CommandFailed(f"{offer.source} cannot be taken: {error}") from error
    missing = [name for name in shards if name not in offer.files]
    if missing:
        raise CommandFailed(f"{offer.source} lacks {', '.join(missing)}, which its {INDEX_FILE} names")
    return list(shards)


def size_of(offer: Offer, names: Iterable[str]) -> int:
    """Bytes of files of the offer."""
    return sum(offer.files[name].size for name in names)
