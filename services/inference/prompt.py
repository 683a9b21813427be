"""What of an order's prompt reaches a model.

A token is counted as up to four letters or digits of a word, one mark, or one character of a script without spaces: about what Whisper's
tokenizer makes of names and terms.
"""

import re
import unicodedata

MAX_PROMPT_TOKENS = 200
_SPECIAL = re.compile(r"<\|.*?\|>|<\||\|>")
_DENSE = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
_TOKEN = re.compile(rf"{_DENSE}|(?:(?!{_DENSE})\w){{1,4}}|[^\w\s]")


def prepare_prompt(text: str) -> str:
    """One line without special tokens such as `<|endoftext|>`; of a long one the last 200 tokens, begun at a whole word."""
    line = " ".join(_printable(_SPECIAL.sub(" ", text)).split())
    tokens = list(_TOKEN.finditer(line))
    if len(tokens) <= MAX_PROMPT_TOKENS:
        return line
    start = tokens[-MAX_PROMPT_TOKENS].start()
    if line[start - 1].isspace():
        return line[start:]
    _, space, rest = line[start:].partition(" ")
    return rest if space else line[start:]


def _printable(text: str) -> str:
    return "".join(
        " " if unicodedata.category(character).startswith("C") else character for character in unicodedata.normalize("NFC", text)
    )
