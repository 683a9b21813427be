"""Whether what was decoded can be believed."""

import zlib
from dataclasses import dataclass

from services.inference.models.whisper.decoding import Decoded
from services.inference.transcript import Verdict


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds of belief. Source of the numbers: Radford et al. 2022, sec. 4.5.

    certain_no_speech_probability is ours: fluent text over a window that is surely no speech was made up.
    """

    highest_compression_ratio: float = 2.4
    lowest_log_probability: float = -1.0
    highest_no_speech_probability: float = 0.6
    certain_no_speech_probability: float = 0.95

    def judge(self, decoded: Decoded, text: str) -> Verdict:
        """Silence: no speech is certain, or it is likely and the text is not."""
        unlikely = decoded.average_log_probability < self.lowest_log_probability
        highest = self.highest_no_speech_probability if unlikely else self.certain_no_speech_probability
        if decoded.no_speech_probability > highest:
            return Verdict.SILENT
        if compression_ratio(text) > self.highest_compression_ratio:
            return Verdict.REPETITIVE
        return Verdict.DOUBTFUL if unlikely else Verdict.ACCEPTED


def compression_ratio(text: str) -> float:
    """Length of the text over its length compressed: above 2.4 it repeats itself."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
