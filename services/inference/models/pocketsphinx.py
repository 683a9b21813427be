"""The bundled English recogniser: PocketSphinx with the model of its own wheel.

A demonstration engine that needs no download: 2 to 11 % of words wrong on clear synthetic speech, most of them on telephone talk.
Its second search (`fwdflat`) stays off: it takes a third more time for one word in a hundred (243 words of the sample meeting
1.6 % wrong with and without, some 300 words in four voices 9 % with and 11 % without). A language weight of 8 instead of the model's
6.5 saves 15 % more and has 16 % of those wrong.
"""

import math
from collections.abc import Iterator

import pocketsphinx

from services.inference.models.letters import load_letter_sounds
from services.inference.models.pronunciation import Term, terms
from services.inference.pcm import Pcm, duration_ms
from services.inference.transcript import WindowResult, Word

LANGUAGE = "en"
FRAME_MS = 10
LOG_BASE = 1.0001
NOT_SPOKEN = ("<", "[", "++")
OF_PROMPT = "="
COMMON_PROBABILITY = 2e-4
# Against an even share in all words of the language model. Fourteen names and terms in four voices: 25 of 56 found without a prompt,
# 40 with weight 1, 44 with 10, 45 with 100, none heard where it was not said, and other words as good as without.
PROMPT_WEIGHT = 10.0


class PocketSphinxModel:
    """One decoder, and one more for the prompt used last; windows are independent of each other, whatever was decoded before."""

    def __init__(self, decoder: pocketsphinx.Decoder) -> None:
        self._decoder = decoder
        self._prompt = ""
        self._prompted = decoder

    def transcribe(self, pcm: Pcm, prompt: str = "") -> WindowResult:
        """Lower-case words without punctuation, with times and confidence; words of the prompt are likelier, and spelled as there.

        Only text, words and language are known; the scores of its search compare with nothing outside it.
        """
        if not len(pcm):
            return WindowResult(text="", language=LANGUAGE)
        decoder = self._decoder_for(prompt)
        # Its noise estimate would otherwise carry over and make words depend on what came before.
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw(pcm.astype("<i2").tobytes(), no_search=False, full_utt=True)
        decoder.end_utt()
        end_ms = duration_ms(pcm)
        words = tuple(to_word(segment, end_ms) for segment in decoder.seg() or () if not segment.word.startswith(NOT_SPOKEN))
        return WindowResult(text=" ".join(word.text for word in words), words=words, language=LANGUAGE)

    def _decoder_for(self, prompt: str) -> pocketsphinx.Decoder:
        """Words cannot be taken out of a decoder again, so every prompt starts with a fresh one."""
        if not prompt:
            return self._decoder
        if prompt != self._prompt:
            self._prompted = _open_decoder()
            found = terms(prompt, self._decoder.lookup_word, load_letter_sounds().pronounce)
            _teach(self._prompted, [term for term in found if self._is_rare(term)])
            self._prompt = prompt
        return self._prompted

    def _is_rare(self, term: Term) -> bool:
        """Whether the language model expects the word so seldom that it needs help."""
        model = self._decoder.get_lm(self._decoder.current_search())
        probability = math.exp(model.prob([term.spelling.lower()]) * math.log(LOG_BASE))
        return probability < COMMON_PROBABILITY


def _teach(decoder: pocketsphinx.Decoder, taught: list[Term]) -> None:
    """Add each way to say each term as a word of its own, marked, whatever the dictionary has."""
    model = decoder.get_lm(decoder.current_search())
    entries = list(_entries(taught))
    for number, (name, phones) in enumerate(entries, start=1):
        model.add_word(name, PROMPT_WEIGHT)
        decoder.add_word(name, phones, update=number == len(entries))


def _entries(taught: list[Term]) -> Iterator[tuple[str, str]]:
    for term in taught:
        for marks, phones in enumerate(term.pronunciations, start=1):
            yield OF_PROMPT * marks + term.spelling, phones


def to_word(segment: pocketsphinx.Segment, end_ms: int) -> Word:
    """A word of the best path without its marks; `read(2)`, the second pronunciation of `read`, loses its number."""
    return Word(
        text=segment.word.lstrip(OF_PROMPT).partition("(")[0],
        start_ms=min(end_ms, segment.start_frame * FRAME_MS),
        end_ms=min(end_ms, (segment.end_frame + 1) * FRAME_MS),
        probability=min(1.0, max(0.0, float(segment.prob))),
    )


def load_pocketsphinx() -> PocketSphinxModel:
    """The en-us model of the wheel; about 0.3 s and 100 MB, and as much again for a prompt."""
    return PocketSphinxModel(_open_decoder())


def _open_decoder() -> pocketsphinx.Decoder:
    return pocketsphinx.Decoder(samprate=16_000, loglevel="FATAL", cmn="batch", fwdflat=False)
