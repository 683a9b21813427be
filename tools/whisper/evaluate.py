"""Word errors, word times and more of a model on the held-out splits: `python -m tools.whisper.evaluate MODEL CORPUS`.

Measured with the service's own runtime, its voice activity detection and its windows.
"""

import argparse
import itertools
import json
from dataclasses import asdict
from pathlib import Path

from services.inference.models.whisper.prompts import Task
from tools.speech.audio import read_audio
from tools.whisper.corpus import Corpus, Split, load_corpus
from tools.whisper.grammar import LANGUAGES, Language
from tools.whisper.listening import Listener, open_listener
from tools.whisper.probes import probe
from tools.whisper.scenes import scenes
from tools.whisper.scores import Score, score
from tools.whisper.utterance import Span

HELD_OUT: tuple[Split, ...] = ("sentences", "voices")
# One sentence alone, and a minute that fills two windows.
RECORDINGS_SECONDS = (0.0, 58.0)


def evaluate(listener: Listener, corpus: Corpus, language: Language, seconds: float, limit: int, *, timestamps: bool) -> Score:
    """Transcribe the first sentences of a split in recordings of about so many seconds."""
    entries = [entry for entry in corpus.entries if entry.language == language][:limit]
    recordings = list(scenes(corpus, entries, seconds))
    task = Task(language, timestamps=timestamps)
    return score([one.words for one in recordings], [listener.words(one.samples, task) for one in recordings])


def evaluate_meeting(listener: Listener, described: Path) -> Score:
    """Transcribe the recording that a file of `tools.whisper.meeting` describes."""
    turns = json.loads(described.read_text(encoding="utf-8"))
    words = [Span(**word) for turn in turns["turns"] for word in turn["words"]]
    return score([words], [listener.words(read_audio(described.with_name(turns["file"])), Task(turns["language"]))])


def main() -> None:
    """Read the command line and print a score a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--meeting", type=Path, default=Path("samples/whisper-meeting.json"))
    parser.add_argument("--limit", type=int, default=200, help="sentences of each split and language")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with open_listener(options.model, options.threads) as listener:
        for split in HELD_OUT:
            corpus = load_corpus(options.corpus, split)
            for language, seconds, timestamps in itertools.product(LANGUAGES, RECORDINGS_SECONDS, (False, True)):
                found = evaluate(listener, corpus, language, seconds, options.limit, timestamps=timestamps)
                told = {"split": split, "language": language, "seconds": seconds, "timestamps": timestamps, **asdict(found)}
                print(json.dumps(told), flush=True)
            print(json.dumps({"split": split, **asdict(probe(listener, corpus, options.limit))}), flush=True)
        print(json.dumps({"file": options.meeting.name, **asdict(evaluate_meeting(listener, options.meeting))}))


if __name__ == "__main__":
    main()
