"""Make the spoken corpus: `python -m tools.whisper.corpus FOLDER [--english N] [--spanish N] [--held-out N] [--processes N]`.

Three splits: `train`; `sentences`, held-out sentences in voices of the training; `voices`, held-out sentences in held-out voices.
The same numbers give the same bytes with the same versions of flite (2.2) and espeak-ng (1.51).
"""

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.whisper.grammar import Language, fresh_sentence
from tools.whisper.mel import HOP_SAMPLES, POWER_FLOOR, Frames, mel_filters, mel_power
from tools.whisper.utterance import Span, Utterance, Waveform, levelled, trimmed
from tools.whisper.voices import Speakers, choose_voice

Split = Literal["train", "sentences", "voices"]

SPLITS: tuple[Split, ...] = ("train", "sentences", "voices")


class Order(NamedTuple):
    """One utterance to make; the seed fixes its words, voice and manner."""

    seed: int
    language: Language
    split: Split


@dataclass(frozen=True)
class Entry:
    """Where an utterance lies in its split's arrays, and what is said when (seconds)."""

    language: Language
    voice: str
    text: str
    first_frame: int
    frames: int
    words: tuple[Span, ...]
    phones: tuple[Span, ...]


@dataclass(frozen=True)
class Corpus:
    """A split on disk. log_power: (frames, 80) float16, log10 of the mel power; samples: (frames * 160,) int16."""

    entries: tuple[Entry, ...]
    log_power: NDArray[np.float16]
    samples: NDArray[np.int16]

    def power(self, entry: Entry) -> Frames:
        """Mel power of an utterance, (frames, 80) float32."""
        kept = self.log_power[entry.first_frame : entry.first_frame + entry.frames]
        return np.power(np.float32(10), kept.astype(np.float32))

    def waveform(self, entry: Entry) -> NDArray[np.int16]:
        """Sound of an utterance, (samples,) int16, 16 kHz."""
        start = entry.first_frame * HOP_SAMPLES
        return self.samples[start : start + entry.frames * HOP_SAMPLES]


@cache
def _speakers() -> Speakers:
    return Speakers()  # libespeak-ng keeps one state per process


def make_utterance(order: Order) -> Utterance:
    """Speak one order."""
    chance = random.Random(f"{order.split} {order.language} {order.seed}")
    text = fresh_sentence(chance, order.language, held_out=order.split != "train")
    voice = choose_voice(chance, order.language, held_out=order.split == "voices")
    speech = levelled(trimmed(_speakers().speak(chance, voice, text)))
    name = f"{voice.synthesizer}:{voice.name}"
    phones = tuple(span._replace(text=f"{voice.synthesizer}:{span.text}") for span in speech.phones)
    return Utterance(order.language, name, text, speech.samples, tuple(speech.words), phones)


def orders(english: int, spanish: int, held_out: int) -> Iterator[Order]:
    """Every utterance of the corpus, split by split."""
    for split in SPLITS:
        counts: dict[Language, int] = {"en": english, "es": spanish} if split == "train" else {"en": held_out, "es": held_out}
        for language, count in counts.items():
            yield from (Order(seed, language, split) for seed in range(count))


def make_corpus(folder: Path, wanted: list[Order], processes: int) -> None:
    """Speak the orders and write their splits."""
    folder.mkdir(parents=True, exist_ok=True)
    with get_context("spawn").Pool(processes) as pool:
        for split in SPLITS:
            _write(folder / split, pool.imap(make_utterance, [order for order in wanted if order.split == split], chunksize=32))


def _write(stem: Path, utterances: Iterator[Utterance]) -> None:
    filters, entries, powers, waveforms = mel_filters(), [], [], []
    first_frame = 0
    for utterance in utterances:
        samples = _whole_frames(utterance.samples)
        power = mel_power(samples, filters)
        powers.append(np.log10(np.maximum(power, POWER_FLOOR)).astype(np.float16))
        waveforms.append((samples * 32_767).astype(np.int16))
        entries.append(
            Entry(utterance.language, utterance.voice, utterance.text, first_frame, len(power), utterance.words, utterance.phones)
        )
        first_frame += len(power)
    np.save(f"{stem}.power.npy", np.concatenate(powers))
    np.save(f"{stem}.samples.npy", np.concatenate(waveforms))
    Path(f"{stem}.json").write_text(json.dumps([asdict(entry) for entry in entries], ensure_ascii=False), encoding="utf-8")


def _whole_frames(samples: Waveform) -> Waveform:
    """The samples with silence up to a whole frame, and two frames more that still see the end of the speech."""
    return np.pad(samples, (0, -len(samples) % HOP_SAMPLES + 2 * HOP_SAMPLES))


def load_corpus(folder: Path, split: Split) -> Corpus:
    """A split, its arrays mapped from disk."""
    rows = json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))
    arrays = (np.load(folder / f"{split}.{kind}.npy", mmap_mode="r") for kind in ("power", "samples"))
    return Corpus(tuple(map(_entry, rows)), *arrays)


def _entry(row: dict[str, object]) -> Entry:
    spans = {kind: tuple(Span(*span) for span in row.pop(kind)) for kind in ("words", "phones")}  # type: ignore[attr-defined]
    return Entry(**row, **spans)  # type: ignore[arg-type]


def main() -> None:
    """Read the command line and make the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--english", type=int, default=8_000)
    parser.add_argument("--spanish", type=int, default=4_000)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    make_corpus(options.folder, list(orders(options.english, options.spanish, options.held_out)), options.processes)


if __name__ == "__main__":
    main()
