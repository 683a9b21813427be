"""Which language each window of a file is in: by its own sound, and by that of the windows beside it.

The score of a language for window i is the sum over the windows j at most two away of

    NEARNESS[|i - j|] * min(1, d_j / 10 s) * ln max(p_j, 0.001)

where d_j is the length of window j and p_j what the model makes of the language there. A long window that the model is sure of keeps
its language whatever surrounds it, for its own evidence outweighs that of all four neighbours; a short or doubtful one follows them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.transcript_pb2 import SpokenLanguage

NEARNESS = (1.0, 0.25, 0.125)
FULL_EVIDENCE_MS = 10_000
LEAST_PROBABILITY = 0.001
# Four to one: as sure as a window of its full length with 0.8 against 0.2.
CLEAR_EVIDENCE = math.log(4)


def misheard(windows: Sequence[WindowTranscript]) -> dict[int, str]:
    """The language of each window, by its place, that was clearly decoded in another one.

    windows: of one file in order; those without probabilities neither give evidence nor are judged.
    """
    corrected: dict[int, str] = {}
    for place, window in enumerate(windows):
        if not window.language_probabilities or not window.language:
            continue
        scores = _scores(windows, place)
        likeliest = max(scores, key=lambda language: (scores[language], language))
        if scores[likeliest] - scores[window.language] >= CLEAR_EVIDENCE:
            corrected[place] = likeliest
    return corrected


def _scores(windows: Sequence[WindowTranscript], place: int) -> Mapping[str, float]:
    """Every language that was heard near by, and the one that was decoded."""
    first, last = max(0, place - len(NEARNESS) + 1), place + len(NEARNESS)
    near = [(abs(place - at), window) for at, window in enumerate(windows[first:last], first) if window.language_probabilities]
    languages = {language for _, window in near for language in window.language_probabilities} | {windows[place].language}
    return {language: sum(_evidence(window, language) * NEARNESS[distance] for distance, window in near) for language in languages}


def _evidence(window: WindowTranscript, language: str) -> float:
    length_ms = window.end_offset_ms - window.start_offset_ms
    probability = window.language_probabilities.get(language, 0.0)
    return min(1.0, length_ms / FULL_EVIDENCE_MS) * math.log(max(probability, LEAST_PROBABILITY))


def spoken_languages(windows: Iterable[WindowTranscript]) -> list[SpokenLanguage]:
    """How long each language is spoken, the most spoken first; windows without words do not count."""
    spoken: Counter[str] = Counter()
    for window in windows:
        if window.language and window.words:
            spoken[window.language] += window.end_offset_ms - window.start_offset_ms
    return [SpokenLanguage(language=language, duration_ms=length_ms) for language, length_ms in spoken.most_common()]
