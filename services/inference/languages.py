"""Which language each window of a file is in: by its own sound, and by that of the windows beside it.

With l_j = ln max(p_j, 0.001), where p_j is what the model makes of a language in window j, and d_j the length of the window, the score
of the language for window i is

    min(1, d_i / 10 s) * l_i + 3/4 * (mean of l_j over the windows at most two away, by d_j, those next to it counting twice)

A long window that the model is sure of keeps its language whatever surrounds it; a short or doubtful one follows its neighbours.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.transcript_pb2 import SpokenLanguage

NEARNESS = (2, 1)
NEIGHBOURS_SHARE = 0.75
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
    places = [(weight, at) for distance, weight in enumerate(NEARNESS, 1) for at in (place - distance, place + distance)]
    near = [(weight, windows[at]) for weight, at in places if 0 <= at < len(windows) and windows[at].language_probabilities]
    total = sum(weight * _length_ms(window) for weight, window in near)
    heard = [(NEIGHBOURS_SHARE * weight * _length_ms(window) / total, window) for weight, window in near]
    heard.append((min(1.0, _length_ms(windows[place]) / FULL_EVIDENCE_MS), windows[place]))
    languages = {language for _, window in heard for language in window.language_probabilities} | {windows[place].language}
    return {language: sum(share * _log_probability(window, language) for share, window in heard) for language in languages}


def _length_ms(window: WindowTranscript) -> int:
    return max(1, window.end_offset_ms - window.start_offset_ms)


def _log_probability(window: WindowTranscript, language: str) -> float:
    return math.log(max(window.language_probabilities.get(language, 0.0), LEAST_PROBABILITY))


def spoken_languages(windows: Iterable[WindowTranscript]) -> list[SpokenLanguage]:
    """How long each language is spoken, the most spoken first; windows without words do not count."""
    spoken: Counter[str] = Counter()
    for window in windows:
        if window.language and window.words:
            spoken[window.language] += window.end_offset_ms - window.start_offset_ms
    return [SpokenLanguage(language=language, duration_ms=length_ms) for language, length_ms in spoken.most_common()]
