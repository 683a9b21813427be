"""Learn how English letters sound from the dictionary in the pocketsphinx wheel: `python -m tools.models.learn_letters`.

Letters are aligned to at most two phones each by Viterbi training. Then, from narrow to wide context, a rule is kept where it says
something else than the narrower ones do. Takes two minutes; the same dictionary gives the same bytes. One word in fifteen held out (8,000):
10.6 % of the phones wrong, 54 % of the words right.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pocketsphinx

from services.inference.models.letters import CONTEXTS, RULES_PATH, apply_rules, context_of, padded

Phones = tuple[str, ...]
Entry = tuple[str, Phones]
Counts = Mapping[str, Mapping[Phones, float]]

MOST_PHONES = 2
ROUNDS = 6
NEAR_LETTERS = 1.5
FEWEST_SEEN = 3
_UNSEEN = {0: 0.05, 1: 0.05, 2: 0.01}
_DOUBLE_COST = 1.0


def read_dictionary(path: Path) -> list[Entry]:
    """Words of plain letters and their first pronunciation."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [(word, tuple(phones)) for word, *phones in lines if re.fullmatch(r"[a-z]{2,20}", word)]


def align(word: str, phones: Phones, counts: Counts) -> list[Phones] | None:
    """The most likely share of the phones for every letter; None when there are more than two phones a letter."""
    best: list[dict[int, float]] = [{0: 0.0}]
    taken: list[dict[int, int]] = []
    for letter in word:
        scores: dict[int, float] = {}
        steps: dict[int, int] = {}
        for used, score in best[-1].items():
            for more in range(min(MOST_PHONES, len(phones) - used) + 1):
                total = score + _log_share(counts[letter], phones[used : used + more])
                if total > scores.get(used + more, -math.inf):
                    scores[used + more], steps[used + more] = total, more
        best.append(scores)
        taken.append(steps)
    return _path(phones, taken) if len(phones) in best[-1] else None


def _path(phones: Phones, taken: Sequence[Mapping[int, int]]) -> list[Phones]:
    shares: list[Phones] = []
    end = len(phones)
    for steps in reversed(taken):
        shares.append(phones[end - steps[end] : end])
        end -= steps[end]
    return shares[::-1]


def _log_share(counts: Mapping[Phones, float], phones: Phones) -> float:
    share = (counts.get(phones, 0.0) + _UNSEEN[len(phones)]) / (counts[("*",)] + 5)
    return math.log(share) - (_DOUBLE_COST if len(phones) == MOST_PHONES else 0.0)


def first_counts(entries: Iterable[Entry]) -> Counts:
    """What stands near what, when letters and phones are spread evenly."""
    counts: defaultdict[str, defaultdict[Phones, float]] = defaultdict(lambda: defaultdict(float))
    for word, phones in entries:
        for place, letter in enumerate(word):
            counts[letter][()] += 0.3
            for number, phone in enumerate(phones):
                distance = abs((place + 0.5) / len(word) - (number + 0.5) / len(phones)) * max(len(word), len(phones))
                if distance < NEAR_LETTERS:
                    counts[letter][(phone,)] += math.exp(-distance)
    return _with_totals(counts)


def _with_totals(counts: Counts) -> Counts:
    return {letter: {**shares, ("*",): sum(shares.values())} for letter, shares in counts.items()}


def aligned(entries: Sequence[Entry]) -> list[tuple[str, list[Phones]]]:
    """Every word with the phones of each of its letters."""
    counts = first_counts(entries)
    for _ in range(ROUNDS):
        found = [(word, shares) for word, phones in entries if (shares := align(word, phones, counts))]
        counted: defaultdict[str, Counter[Phones]] = defaultdict(Counter)
        for word, shares in found:
            for letter, share in zip(word, shares, strict=True):
                counted[letter][share] += 1
        counts = _with_totals(counted)
    return found


def learn(words: Sequence[tuple[str, list[Phones]]]) -> dict[str, str]:
    """Phones by context, see `models.letters`."""
    rules: dict[str, str] = {}
    for width in range(len(CONTEXTS)):
        seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
        narrower: dict[str, str | None] = {}
        for word, place, share in _letters(words):
            context = context_of(word, place, width)
            seen[context][share] += 1
            if context not in narrower:
                narrower[context] = apply_rules(rules, word, place, width)
        rules |= _exceptions(seen, narrower)
    return rules


def _letters(words: Iterable[tuple[str, list[Phones]]]) -> Iterator[tuple[str, int, str]]:
    for word, shares in words:
        line = padded(word)
        for number, share in enumerate(shares):
            yield line, number, " ".join(share)


def _exceptions(seen: Mapping[str, Counter[str]], narrower: Mapping[str, str | None]) -> dict[str, str]:
    found: dict[str, str] = {}
    for context, shares in seen.items():
        best, times = min(shares.items(), key=lambda item: (-item[1], item[0]))
        before = narrower[context]
        if before is None or (best != before and shares.total() >= FEWEST_SEEN and times - shares[before] >= FEWEST_SEEN - 1):
            found[context] = best
    return found


def main() -> None:
    """Write the rules."""
    entries = read_dictionary(Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")))
    rules = learn(aligned(entries))
    RULES_PATH.write_text("".join(f"{context}\t{phones}\n" for context, phones in sorted(rules.items())))


if __name__ == "__main__":
    main()
