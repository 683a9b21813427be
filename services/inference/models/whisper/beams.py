"""Beam search, for those who give four to five times the work for a little accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from services.inference.models.whisper.decoding import Decoded, Decoder, DecodingRequest, Talk
from services.inference.models.whisper.graphs import Tensors
from services.inference.models.whisper.rows import Rows
from services.inference.pcm import Floats


@dataclass(frozen=True, slots=True)
class Beam:
    """A hypothesis. row: of the batch that holds its past."""

    row: int
    tokens: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """Log probability of all of it."""
        return sum(self.log_probabilities)


@dataclass(slots=True)
class Search:
    """One window's. The best of as many finished hypotheses as there are beams wins, by log probability per token."""

    window: int
    request: DecodingRequest
    beams: list[Beam]
    no_speech_probability: float
    finished: list[Beam] = field(default_factory=list)
    cancelled: bool = False

    def best(self) -> Decoded:
        """The result; of an unfinished search the likeliest beam counts too."""
        ended = bool(self.finished)
        found = max(self.finished or self.beams, key=lambda beam: beam.total / (len(beam.tokens) + 1))
        return Decoded(list(found.tokens), list(found.log_probabilities), self.no_speech_probability, ended, self.cancelled)


class BeamDecoder:
    """Searches of all windows in one batch. Source: `decoding.py` of openai/whisper, with patience 1."""

    def __init__(self, decoder: Decoder, width: int) -> None:
        self._decoder = decoder
        self._width = width

    def decode(self, crossed: Tensors, requests: Sequence[DecodingRequest]) -> list[Decoded]:
        """One result per request; temperatures are not used."""
        batch = Rows(self._decoder.graphs, crossed, [request.prompt.tokens for request in requests])
        talks = [Talk(request, self._decoder.special.end) for request in requests]
        logits = self._decoder.first_logits(batch, talks)
        searches = [Search(row, talk.request, [Beam(row)], talk.decoded.no_speech_probability) for row, talk in enumerate(talks)]
        going, windows = searches, list(range(len(searches)))
        while True:
            self._extend(logits, going)
            going = [search for search in going if not self._done(search)]
            if not going:
                return [search.best() for search in searches]
            logits, windows = self._step(batch, going, windows)

    def _step(self, batch: Rows, searches: Sequence[Search], before: list[int]) -> tuple[Floats, list[int]]:
        """Lay the beams out as rows, one after the other, and hear their last tokens; also says whose each row is."""
        beams = [(search.window, beam) for search in searches for beam in search.beams]
        windows, rows = [window for window, _ in beams], [beam.row for _, beam in beams]
        # What the encoder made stays where it is as long as every row belongs to the window that it did.
        if windows == before:
            batch.reorder(rows)
        else:
            batch.keep(rows)
        self._number(searches)
        return batch.step(np.array([beam.tokens[-1] for _, beam in beams], np.int64)), windows

    def _done(self, search: Search) -> bool:
        search.cancelled = search.request.cancelled()
        if search.cancelled:
            return True
        return not search.beams or len(search.finished) >= self._width or len(search.beams[0].tokens) >= search.request.most_tokens

    def _extend(self, logits: Floats, searches: Sequence[Search]) -> None:
        for search in searches:
            rows = logits[[beam.row for beam in search.beams]]
            timestamps = [search.request.prompt.timestamps] * len(rows)
            self._decoder.rules.apply(rows, [beam.tokens for beam in search.beams], timestamps)
            candidates = sorted(self._candidates(search.beams, log_softmax(rows)), key=lambda beam: -beam.total)
            search.beams = []
            for beam in candidates:
                self._place(search, beam)
                if len(search.beams) == self._width:
                    break

    def _place(self, search: Search, beam: Beam) -> None:
        if beam.tokens[-1] != self._decoder.special.end:
            search.beams.append(beam)
        elif len(search.finished) < self._width:
            search.finished.append(replace(beam, tokens=beam.tokens[:-1]))

    def _candidates(self, beams: Sequence[Beam], log_probabilities: Floats) -> list[Beam]:
        """As many continuations of each beam as there are beams, and one more for the end."""
        return [
            Beam(beam.row, (*beam.tokens, token), (*beam.log_probabilities, float(row[token])))
            for beam, row in zip(beams, log_probabilities, strict=True)
            for token in np.argpartition(-row, self._width)[: self._width + 1].tolist()
            if np.isfinite(row[token])
        ]

    def _number(self, searches: Sequence[Search]) -> None:
        """Beams lie in the batch one after the other."""
        row = 0
        for search in searches:
            search.beams = [replace(beam, row=row + place) for place, beam in enumerate(search.beams)]
            row += len(search.beams)


def log_softmax(logits: Floats) -> Floats:
    """Over the last axis of (rows, choices)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float32)
