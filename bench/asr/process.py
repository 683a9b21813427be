"""A contender in a process of its own: `python -m bench.asr.process NAME PRECISION FOLDER`, asked by lines of JSON."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.asr.contenders import Contender, CTranslate2, Ours, Transformers, random_mels

CONTENDERS: dict[str, Callable[[Path, str], Contender]] = {"ours": Ours, "transformers": Transformers, "ctranslate2": CTranslate2}


def main() -> None:
    """Answer `{"rows": …, "tokens": …}` with seconds of processor time and bytes until the questions end."""
    name, precision, folder = sys.argv[1:]
    contender = CONTENDERS[name](Path(folder), precision)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(measure(contender, question["rows"], question["tokens"])), flush=True)


def measure(contender: Contender, rows: int, tokens: int) -> dict[str, float]:
    """One round, in seconds of processor time: contenders have one thread, and neighbours do not count.

    Steps are what many tokens take more than one: a contender's first step may do more.
    """
    mels = random_mels(rows)
    started = time.process_time()
    encoded = contender.encode(mels)
    marks = [time.process_time()]
    for many in (1, tokens):
        contender.decode(encoded, rows, many)
        marks.append(time.process_time())
    first, all_tokens = marks[1] - marks[0], marks[2] - marks[1]
    return {
        "encode": (marks[0] - started) / rows,
        "step": (all_tokens - first) / (tokens - 1),
        "window": (marks[0] - started + all_tokens) / rows,
        "bytes": float(psutil.Process().memory_info().rss),
    }


if __name__ == "__main__":
    main()
