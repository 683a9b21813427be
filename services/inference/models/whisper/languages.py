"""Which languages a model was taught, as its files say; reads with the standard library only."""

from pathlib import Path

from services.inference.models.whisper.architecture import GENERATION_FILE, TOKENIZER_FILE, UnsupportedModel, read_json


def read_language_tokens(folder: Path) -> dict[str, int]:
    """Ids of the languages' tokens by code, in their order; none for a model of English only. Raises UnsupportedModel.

    The vocabulary may have more: those of Whisper's English models have them all, and a model trained further may have unlearned some.
    """
    generation = read_json(folder / GENERATION_FILE)
    if not generation.get("is_multilingual", True):
        return {}
    ids = _added_tokens(folder / TOKENIZER_FILE)
    try:
        first, last = ids["<|startoftranscript|>"], min(ids["<|translate|>"], ids["<|transcribe|>"])
    except KeyError as error:
        raise UnsupportedModel(f"{folder / TOKENIZER_FILE} has no token {error}") from error
    taught = generation.get("lang_to_id") or ids
    between = sorted((number, name) for name, number in ids.items() if first < number < last and name in taught)
    return {name[2:-2]: number for number, name in between}


def _added_tokens(path: Path) -> dict[str, int]:
    return {str(token["content"]): int(token["id"]) for token in read_json(path).get("added_tokens", [])}
