"""Writes the corpus: `python -m faults.corpora.media.write ORDER`, a JSON object with the arguments of `write` and of the bait.

A process of its own, so that neither libav nor the memory of making bombs is in the process that is measured.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from faults.corpora.media import bombs, crowds, lies, lures, strangers, truncations, wav_lies
from faults.corpora.media.case import MANIFEST, Bait, Case, Sources, Specimen
from faults.corpora.media.forms import make_sources


def all_cases(sources: Sources, every_percent: int, slow: bool, bait: Bait) -> Iterator[tuple[str, Case]]:
    """Every case with its kind; the slow bombs only when asked."""
    kinds = {
        "stranger": strangers.cases(sources),
        "truncation": truncations.cases(sources, every_percent),
        "wav": wav_lies.cases(sources),
        "lie": lies.cases(sources),
        "crowd": crowds.cases(sources),
        "lure": lures.cases(sources, bait),
        "bomb": bombs.cases(slow),
    }
    for kind, cases in kinds.items():
        for case in cases:
            yield kind, case


def write(folder: Path, every_percent: int, slow: bool, bait: Bait) -> None:
    """The files, their manifest, and the whole forms that mutants are made of."""
    sources = make_sources()
    (folder / "forms").mkdir(parents=True)
    for name, data in sources.forms.items():
        (folder / "forms" / name).write_bytes(data)
    rows = [store(folder, number, kind, case) for number, (kind, case) in enumerate(all_cases(sources, every_percent, slow, bait))]
    (folder / MANIFEST).write_text(json.dumps([row.to_json() for row in rows]))


def store(folder: Path, number: int, kind: str, case: Case) -> Specimen:
    """One file."""
    path = folder / f"{number:04}"
    path.write_bytes(case.data)
    return Specimen(kind, case.name, path, case.expected, case.duration_ms, case.tolerance_ms, case.filename, case.slow)


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    write(Path(order["folder"]), order["every_percent"], order["slow"], Bait(order["port"], Path(order["sibling"])))
