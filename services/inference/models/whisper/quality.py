"""Whether what was decoded can be believed."""

import zlib
from dataclasses import dataclass

from services.inference.models.whisper.decoding import Decoded
from services.inference.transcript import Verdict


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds of belief. Source of the numbers: Radford et al. 2022, sec. 4.5.

    Ours: above certain_no_speech_probability text is dropped below lowest_fluent_log_probability already. What is fluent stays, for
    models hold quiet speech for silence too; its segments say `high_no_speech`.
    """

    highest_compression_ratio: float = 2.4
    lowest_log_probability: float = -1.0
    highest_no_speech_probability: float = 0.6
    certain_no_speech_probability: float = 0.95
    lowest_fluent_log_probability: float = -0.5

    def judge(self, decoded: Decoded, text: str) -> Verdict:
        """Text that did not come to its end, so that some is missing, is doubtful at best."""
        if self._is_silence(decoded, text):
            return Verdict.SILENT
        if compression_ratio(text) > self.highest_compression_ratio:
            return Verdict.REPETITIVE
        unlikely = decoded.average_log_probability < self.lowest_log_probability
        return Verdict.DOUBTFUL if unlikely or not decoded.ended else Verdict.ACCEPTED

    def _is_silence(self, decoded: Decoded, text: str) -> bool:
        """No speech is likely, and there is no text or it is less so the surer that is."""
        if decoded.no_speech_probability <= self.highest_no_speech_probability:
            return False
        certain = decoded.no_speech_probability > self.certain_no_speech_probability
        lowest = self.lowest_fluent_log_probability if certain else self.lowest_log_probability
        return not text or decoded.average_log_probability < lowest


def compression_ratio(text: str) -> float:
    """Length of the text over its length compressed: above 2.4 it repeats itself."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
