"""A contender in a process of its own: `python -m bench.asr.process NAME PRECISION FOLDER DEVICE`, asked by lines of JSON."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.asr.contenders import Contender, CTranslate2, Ours, Transformers, random_mels

CONTENDERS: dict[str, Callable[[Path, str, str], Contender]] = {"ours": Ours, "transformers": Transformers, "ctranslate2": CTranslate2}


def main() -> None:
    """Answer `{"rows": …, "tokens": …}` with seconds and bytes until the questions end."""
    name, precision, folder, device = sys.argv[1:]
    contender = CONTENDERS[name](Path(folder), precision, device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(measure(contender, question["rows"], question["tokens"], clock)), flush=True)


def measure(contender: Contender, rows: int, tokens: int, clock: Callable[[], float]) -> dict[str, float]:
    """One round. clock: on a processor its time, for contenders have one thread and neighbours do not count; with a GPU the wall's.

    Steps are what many tokens take more than one: a contender's first step may do more.
    """
    mels = random_mels(rows, contender.bands)
    started = clock()
    encoded = contender.encode(mels)
    marks = [clock()]
    for many in (1, tokens):
        contender.decode(encoded, rows, many)
        marks.append(clock())
    first, all_tokens = marks[1] - marks[0], marks[2] - marks[1]
    return {
        "encode": (marks[0] - started) / rows,
        "step": (all_tokens - first) / (tokens - 1),
        "window": (marks[0] - started + all_tokens) / rows,
        "bytes": float(psutil.Process().memory_info().rss),
    }


if __name__ == "__main__":
    main()
