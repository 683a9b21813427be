"""Voices: embeddings of speech, and which of the speakers found are known."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from services.inference.audio import Audio
from services.inference.diarization.spans import embedding_blocks, encoder_gain
from services.inference.engines.engine import Engine
from services.inference.pcm import Floats, cut, level_dbfs
from services.inference.transcript import Turn
from services.inference.windows import Region
from services.mesh.errors import InvalidField
from steno.jobs.v1.job_pb2 import KnownSpeaker

EMBEDDING_SIZE = 256
# A sentence against other speech of its voice: 0.81 to 0.95 for four synthetic voices, 0.86 to 0.92 for four people on the telephone and
# in meetings, 0.77 for an archive recording. Against other voices: 0.75 at most, with noise 0.797, and 0.80 for the two ends of one call.
SAME_VOICE_SIMILARITY = 0.80
_FLOAT32 = np.dtype("<f4")
_PURE_SHARE = 0.9


async def embed_spans(
    engine: Engine, audio: Audio, regions: Sequence[Region], spans: Sequence[Region], embedded: Callable[[int], None]
) -> Floats:
    """(spans, 256) rows of length 1. embedded: told the file time in ms up to which they are done. Raises EngineFailed."""
    gain = encoder_gain(await asyncio.to_thread(_speech_level, audio, regions))
    rows: list[Floats] = []
    for block in embedding_blocks(spans):
        rows.append(await engine.embed(audio.copy(block.start_ms, block.end_ms), block.spans, gain))
        embedded(block.end_ms)
    return np.concatenate(rows)


def centroid(embeddings: Floats) -> Floats:
    """(256,) mean direction of the rows, of length 1."""
    mean = embeddings.mean(axis=0)
    return np.asarray(mean / (np.linalg.norm(mean) + 1e-9), np.float32)


def to_bytes(embedding: Floats) -> bytes:
    """Little-endian float32, as EmbedSpeaker answers it."""
    return embedding.astype(_FLOAT32).tobytes()


def read_voices(known: Sequence[KnownSpeaker]) -> dict[str, Floats]:
    """Rows of length 1 by name; more than one for a name that came more than once. Raises InvalidField for what is no embedding."""
    rows: dict[str, list[Floats]] = {}
    for speaker in known:
        rows.setdefault(speaker.name, []).append(_parsed(speaker))
    return {name: np.stack(voices) for name, voices in rows.items()}


def _parsed(speaker: KnownSpeaker) -> Floats:
    if len(speaker.embedding) == EMBEDDING_SIZE * _FLOAT32.itemsize:
        row = np.frombuffer(speaker.embedding, _FLOAT32).astype(np.float64)
        length = float(np.linalg.norm(row))
        if np.isfinite(length) and length > 0:
            return np.asarray(row / length, np.float32)
    raise InvalidField("A known speaker's embedding was not made by this model.", field="known_speakers")


def name_speakers(turns: Sequence[Turn], spans: Sequence[Region], embeddings: Floats, known: Sequence[KnownSpeaker]) -> dict[int, str]:
    """The known voice of each speaker that is like one: every name at most once, the most alike pairs together."""
    voices = read_voices(known)
    found = speaker_centroids(turns, spans, embeddings)
    if not voices or not found:
        return {}
    names, speakers = list(voices), list(found)
    similarities = np.array([[float((voices[name] @ found[speaker]).max()) for name in names] for speaker in speakers])
    gains = np.maximum(similarities - SAME_VOICE_SIMILARITY, 0)
    pairs = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
    return {speakers[row]: names[column] for row, column in pairs if similarities[row, column] >= SAME_VOICE_SIMILARITY}


def speaker_centroids(turns: Sequence[Turn], spans: Sequence[Region], embeddings: Floats) -> Mapping[int, Floats]:
    """The mean direction of each speaker's spans: those that lie in its turns by nine tenths, else by most.

    A span across a change of speaker holds two voices.
    """
    shares = _turn_shares(turns, spans)
    speakers = sorted({turn.speaker for turn in turns})
    chosen = {speaker: np.flatnonzero(shares[:, speaker] >= min(_PURE_SHARE, shares[:, speaker].max())) for speaker in speakers}
    return {speaker: centroid(embeddings[rows]) for speaker, rows in chosen.items() if shares[rows, speaker].max() > 0}


def _turn_shares(turns: Sequence[Turn], spans: Sequence[Region]) -> Floats:
    """(spans, speakers): the part of each span that each speaker's turns cover."""
    shares = np.zeros((len(spans), 1 + max((turn.speaker for turn in turns), default=0)), np.float32)
    starts, ends = np.array([span.start_ms for span in spans]), np.array([span.end_ms for span in spans])
    longest_ms = int((ends - starts).max(initial=0))
    for turn in turns:
        first, last = np.searchsorted(starts, (turn.start_ms - longest_ms, turn.end_ms))
        shared = np.minimum(ends[first:last], turn.end_ms) - np.maximum(starts[first:last], turn.start_ms)
        shares[first:last, turn.speaker] += np.maximum(shared, 0) / np.maximum(1, ends[first:last] - starts[first:last])
    return shares


def _speech_level(audio: Audio, regions: Sequence[Region]) -> float:
    # Pieces of a memory-mapped file: a ten-hour file must not be gathered into memory.
    energies = [(level_dbfs(cut(audio.samples, region.start_ms, region.end_ms)), region.duration_ms) for region in regions]
    power = sum(10 ** (level / 10) * milliseconds for level, milliseconds in energies)
    total = sum(milliseconds for _, milliseconds in energies)
    return float(10 * np.log10(power / total)) if power > 0 else float("-inf")
