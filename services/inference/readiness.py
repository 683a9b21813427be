"""Whether the engine answers, as the watch saw last."""

from dataclasses import dataclass


@dataclass
class EngineReadiness:
    """trouble: a sentence, empty while the engine answers."""

    trouble: str = ""

    @property
    def in_trouble(self) -> bool:
        """Whether new work is better left to others."""
        return bool(self.trouble)
