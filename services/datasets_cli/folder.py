"""A folder of recordings with labels, read whole before anything is sent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.client.failures import CommandFailed
from services.datasets_cli.audacity import read_audacity
from services.datasets_cli.jams import read_jams
from services.datasets_cli.labels import Label, LabelForm, Read, Reading
from services.datasets_cli.recordings import check_recordings, files_below, is_recording
from services.datasets_cli.tables import read_table

_MOST_PROBLEMS = 20

Labels = dict[Path, list[Label]]


@dataclass(frozen=True)
class LabelledFile:
    """A recording and its labels, possibly none."""

    path: Path
    size_bytes: int
    labels: Sequence[Label]


@dataclass(frozen=True)
class LabelledFolder:
    """Recordings in order of name. ignored: label files that no recording has the name of."""

    files: Sequence[LabelledFile]
    ignored: Sequence[Path]

    @property
    def artifact_types(self) -> list[str]:
        """The types of all labels, in order of name."""
        return sorted({label.artifact_type for file in self.files for label in file.labels})


@dataclass(frozen=True)
class _Beside:
    """A form of labels that lie beside each recording."""

    suffix: str
    read: Callable[[str, str], Reading[Label]]


_BESIDE: Mapping[LabelForm, _Beside] = {
    LabelForm.AUDACITY: _Beside(".txt", read_audacity),
    LabelForm.JAMS: _Beside(".jams", read_jams),
}


def read_folder(folder: Path, form: LabelForm) -> LabelledFolder:
    """Every recording below the folder, with its labels. Raises CommandFailed with all problems at once."""
    try:
        paths = files_below(folder)
        recordings = [path for path in paths if is_recording(path)]
        check_recordings(folder, recordings)
        return _read(folder, recordings, paths, form)
    except OSError as error:
        raise CommandFailed(f"cannot read {error.filename}: {error.strerror}") from error


def _read(folder: Path, recordings: Sequence[Path], paths: Sequence[Path], form: LabelForm) -> LabelledFolder:
    chosen = _find_form(folder, recordings, paths) if form is LabelForm.AUTO else form
    ignored: list[Path] = []
    if chosen is LabelForm.CSV:
        labels = _labels_of_table(folder, recordings, paths)
    else:
        labels, ignored = _labels_beside(_BESIDE[chosen], recordings, paths)
    if not any(labels.values()):
        raise CommandFailed(f"{folder} holds not one label")
    files = [LabelledFile(path, path.stat().st_size, labels.get(path, ())) for path in recordings]
    return LabelledFolder(files, ignored)


def _find_form(folder: Path, recordings: Sequence[Path], paths: Sequence[Path]) -> LabelForm:
    """The only form that is there. Raises CommandFailed."""
    stems = {path.with_suffix("") for path in recordings}
    beside = {path.suffix.lower() for path in paths if path.with_suffix("") in stems}
    found = [form for form, one in _BESIDE.items() if one.suffix in beside]
    found += [LabelForm.CSV] if _tables(paths) else []
    if not found:
        raise CommandFailed(f"{folder} holds no labels: NAME.txt or NAME.jams beside NAME.wav, or one CSV file")
    if len(found) > 1:
        raise CommandFailed(f"{folder} holds labels in several forms: say --labels {' or '.join(found)}")
    return found[0]


def _tables(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() == ".csv"]


def _labels_beside(form: _Beside, recordings: Sequence[Path], paths: Sequence[Path]) -> tuple[Labels, list[Path]]:
    by_stem = _by_stem(recordings)
    labels: Labels = {}
    ignored: list[Path] = []
    problems: list[str] = []
    for path in (path for path in paths if path.suffix.lower() == form.suffix):
        recording = by_stem.get(path.with_suffix(""))
        if recording is None:
            ignored.append(path)
            continue
        reading = _reading(path, form.read)
        labels[recording] = reading.found
        problems += reading.problems
    _refuse(problems)
    return labels, ignored


def _by_stem(recordings: Sequence[Path]) -> dict[Path, Path]:
    """Raises CommandFailed when two recordings would share their labels."""
    by_stem: dict[Path, Path] = {}
    problems = []
    for path in recordings:
        other = by_stem.setdefault(path.with_suffix(""), path)
        if other != path:
            problems.append(f"{other.name} and {path.name} would share their labels: rename one")
    _refuse(problems)
    return by_stem


def _labels_of_table(folder: Path, recordings: Sequence[Path], paths: Sequence[Path]) -> Labels:
    """Raises CommandFailed."""
    tables = _tables(paths)
    if len(tables) != 1:
        raise CommandFailed(f"{folder} holds {len(tables) or 'no'} CSV files, and one is expected")
    reading = _reading(tables[0], read_table)
    named = {path.name: path for path in recordings} | {path.relative_to(folder).as_posix(): path for path in recordings}
    unknown = [f"{label.place}: there is no recording {file}" for file, label in reading.found if file not in named]
    _refuse([*reading.problems, *unknown])
    labels: Labels = {}
    for file, label in reading.found:
        labels.setdefault(named[file], []).append(label)
    return labels


def _reading(path: Path, read: Callable[[str, str], Reading[Read]]) -> Reading[Read]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        return Reading(problems=[f"{path.name}: byte {error.start} is not UTF-8"])
    return read(text, path.name)


def _refuse(problems: Sequence[str]) -> None:
    """Raises CommandFailed with the first of them, where there are any."""
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise CommandFailed("\n".join([*problems[:_MOST_PROBLEMS], *more]))
