"""How well PocketSphinx hears the meeting, turn by turn: `python -m tools.speech.measure`."""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import jiwer
import numpy as np
from pocketsphinx import Decoder

from tools.speech.audio import SAMPLE_RATE_HZ, Samples, read_audio

PADDING_SECONDS = 0.15


def plain_words(text: str) -> str:
    """Text as the decoder writes it: lower case, words and apostrophes only."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def heard(decoder: Decoder, samples: Samples) -> str:
    """What the decoder makes of one utterance."""
    decoder.start_utt()
    decoder.process_raw(samples.astype("<i2").tobytes(), False, True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return plain_words(hypothesis.hypstr) if hypothesis else ""


def cut(samples: Samples, start: float, end: float) -> Samples:
    """One turn with 150 ms around it."""
    first = max(0, round((start - PADDING_SECONDS) * SAMPLE_RATE_HZ))
    return samples[first : round((end + PADDING_SECONDS) * SAMPLE_RATE_HZ)].astype(np.int16)


def main(audio: Path, reference: Path) -> None:
    """Print every misheard turn and the word error rate per voice and overall."""
    samples = read_audio(audio)
    decoder = Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")
    pairs: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for turn in json.loads(reference.read_text())["turns"]:
        said = plain_words(turn["text"])
        got = heard(decoder, cut(samples, turn["start"], turn["end"]))
        pairs[turn["speaker"]].append((said, got))
        if said != got:
            print(f"{turn['speaker']}: {said}\n  -> {got}")
    report(dict(pairs))


def report(pairs: dict[str, list[tuple[str, str]]]) -> None:
    """One line per voice, and one for all."""
    for name, some in [*pairs.items(), ("all", [pair for each in pairs.values() for pair in each])]:
        said, got = zip(*some, strict=True)
        print(f"{name}: {jiwer.wer(list(said), list(got)):.1%} of {len(' '.join(said).split())} words")


if __name__ == "__main__":
    audio = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("samples/meeting.flac")
    main(audio, Path("samples/meeting.json"))
