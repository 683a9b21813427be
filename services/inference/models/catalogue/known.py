"""Names that people use for models, and what they mean."""

import re
from dataclasses import dataclass
from pathlib import Path

from services.inference.models.catalogue.errors import ModelMissing

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,95}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PREFIX = "whisper-"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A checkpoint of Whisper's authors. megabytes: about what a pull downloads. translates: whether it was trained to."""

    alias: str
    megabytes: int
    translates: bool = True

    @property
    def name(self) -> str:
        """What it is called once installed."""
        return _PREFIX + self.alias

    @property
    def repository(self) -> str:
        """Its id on the hub."""
        return f"openai/{self.name}"

    @property
    def english_only(self) -> bool:
        """Whether it knows no other language."""
        return self.alias.endswith(".en")


KNOWN = (
    KnownModel("tiny", 151),
    KnownModel("tiny.en", 151, translates=False),
    KnownModel("base", 290),
    KnownModel("base.en", 290, translates=False),
    KnownModel("small", 967),
    KnownModel("small.en", 967, translates=False),
    KnownModel("medium", 3_056),
    KnownModel("medium.en", 3_056, translates=False),
    KnownModel("large-v3", 3_087),
    KnownModel("large-v3-turbo", 1_618, translates=False),
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What somebody means. name: once installed. repository: on the hub, None where only the name is known. path: a folder."""

    name: str
    repository: str | None = None
    path: Path | None = None


def resolve(reference: str) -> Reference:
    """A name, an alias (`small`), an id on the hub (`openai/whisper-small`) or a folder (`./small`). Raises ModelMissing."""
    if known := find_known(reference):
        return Reference(known.name, known.repository)
    if reference and Path(reference).is_dir() and not _NAME.fullmatch(reference):
        path = Path(reference).resolve()
        return Reference(installable_name(path.name), path=path)
    if _NAME.fullmatch(reference):
        return Reference(reference)
    if _REPOSITORY.fullmatch(reference) and ".." not in reference:
        return Reference(installable_name(reference.partition("/")[2]), reference)
    raise ModelMissing(f"{reference!r} is neither a model's name, nor an id such as openai/whisper-small, nor a folder that exists")


def installable_name(text: str) -> str:
    """Text as a model's name: small letters, digits, dots and dashes. Raises ModelMissing when nothing is left."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")[:96]
    if not _NAME.fullmatch(name):
        raise ModelMissing(f"{text!r} makes no name for a model; give one with --name")
    return name


def find_known(name: str) -> KnownModel | None:
    """The known model of a name, alias or id."""
    return next((known for known in KNOWN if name in (known.alias, known.name, known.repository)), None)
