"""Variables that look like settings and are none: a misspelled name would otherwise be the default, without a word."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from services.stack.config.classes import SERVICES, all_variables, prefix

_LIKE_ENOUGH = 0.85
# What others of this project read.
_OTHERS = ("STENO_API_KEY", "STENO_FAULT_FOLDER", "STENO_OPERATOR_", "STENO_SECRETS_DIRECTORY", "STENO_TRITON_", "STENO_URL")
_SERVICE_LINK = re.compile(r"_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)$")


def unknown_variables(services: Sequence[str], given: Iterable[str]) -> Iterator[str]:
    """A sentence for each of the given names that no service knows. services: whose names are judged."""
    known = [variable for service in SERVICES for variable in all_variables(service)]
    prefixes = tuple(prefix(service) for service in services)
    links: list[str] = []
    for name in sorted(name for name in given if name.startswith("STENO_") and name.upper() not in known and not name.startswith(_OTHERS)):
        likely = get_close_matches(name, known, 1, _LIKE_ENOUGH)
        if name.startswith(prefixes) and _SERVICE_LINK.search(name):
            links.append(name)
        elif name.startswith(prefixes) or (likely and likely[0].startswith(prefixes)):
            yield f"{name} is no setting" + (f"; did you mean {likely[0]}?" if likely else "; see docs/settings.md")
    if links:
        yield f"{links[0]} and {len(links) - 1} more come from Kubernetes' service links; set enableServiceLinks: false on the pod"
