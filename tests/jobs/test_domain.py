"""The rules for orders, on plain values."""

from datetime import timedelta

import pytest

from services.jobs.domain import (
    InvalidLanguage,
    Policy,
    accepted_config,
    fingerprint,
    job_error,
    language_code,
    raised_progress,
    retry_delay,
    url_filename,
)
from services.mesh.errors import InvalidField
from steno.jobs.v1.job_pb2 import KnownSpeaker, TranscriptionConfig

VOICE = KnownSpeaker(name="Ada", embedding=b"1234")


@pytest.mark.parametrize(
    ("asked", "code"), [("", ""), ("auto", ""), ("AUTO", ""), ("en", "en"), ("EN", "en"), ("pt-BR", "pt"), ("zh_Hans_CN", "zh")]
)
def test_language_tags_become_codes(asked: str, code: str) -> None:
    assert language_code(asked) == code


@pytest.mark.parametrize("asked", ["xx", "eng", "e", "en\0", "en us", "en-", "-en", "english", "en" * 5000, "٣٣", "' OR 1=1"])
def test_what_is_no_language_is_refused(asked: str) -> None:
    with pytest.raises(InvalidLanguage):
        language_code(asked)


@pytest.mark.parametrize(
    "config",
    [
        TranscriptionConfig(speaker_count=-1),
        TranscriptionConfig(min_speaker_count=21),
        TranscriptionConfig(max_speaker_count=21),
        TranscriptionConfig(min_speaker_count=3, max_speaker_count=2),
        TranscriptionConfig(prompt="x" * 4097),
        TranscriptionConfig(prompt="a\0b"),
        TranscriptionConfig(temperature=-0.1),
        TranscriptionConfig(temperature=1.001),
        TranscriptionConfig(temperature=float("nan")),
        TranscriptionConfig(task=7),  # type: ignore[arg-type]
        TranscriptionConfig(known_speakers=[VOICE] * 2),
        TranscriptionConfig(known_speakers=[KnownSpeaker(name=str(number), embedding=b"1234") for number in range(5)]),
        TranscriptionConfig(known_speakers=[KnownSpeaker(name="", embedding=b"1234")]),
        TranscriptionConfig(known_speakers=[KnownSpeaker(name="x" * 65, embedding=b"1234")]),
        TranscriptionConfig(known_speakers=[KnownSpeaker(name="a\0", embedding=b"1234")]),
        TranscriptionConfig(known_speakers=[KnownSpeaker(name="a")]),
        TranscriptionConfig(known_speakers=[KnownSpeaker(name="a", embedding=b"123")]),
        TranscriptionConfig(known_speakers=[KnownSpeaker(name="a", embedding=b"1234" * 1025)]),
    ],
)
def test_orders_out_of_range_are_refused(config: TranscriptionConfig) -> None:
    with pytest.raises(InvalidField):
        accepted_config(config)


def test_orders_at_the_limits_are_accepted_and_left_alone() -> None:
    asked = TranscriptionConfig(language="De-AT", speaker_count=20, min_speaker_count=20, max_speaker_count=20, prompt="x" * 4096)
    accepted = accepted_config(asked)
    assert (accepted.language, asked.language) == ("de", "De-AT")
    assert (accepted.speaker_count, len(accepted.prompt)) == (20, 4096)


@pytest.mark.parametrize(
    ("url", "filename"),
    [
        ("https://example.com/a/b%20c.mp3?x=1", "b c.mp3"),
        ("https://example.com/a/", "a"),
        ("https://example.com/", "example.com"),
        ("https://example.com:8443/?v=1", "example.com"),
        ("https://example.com/%00%0a%ff.mp3", "\ufffd.mp3"),
        ("https://example.com/" + "x" * 300, "x" * 255),
    ],
)
def test_a_url_names_its_media(url: str, filename: str) -> None:
    assert url_filename(url) == filename


def test_orders_differ_by_what_changes_their_result() -> None:
    config = TranscriptionConfig(language="en")
    prints = {
        fingerprint(config, 1, "a"),
        fingerprint(config, 2, "a"),
        fingerprint(config, 1, "b"),
        fingerprint(TranscriptionConfig(language="en", diarize=True), 1, "a"),
    }
    assert len(prints) == 4
    assert fingerprint(TranscriptionConfig(language="en"), 1, "a") in prints


def test_delays_grow_to_a_limit_and_jitter_only_shortens_them() -> None:
    policy = Policy(retry_delay=timedelta(seconds=2), max_retry_delay=timedelta(seconds=60))
    seconds = [retry_delay(policy, attempt, 0.0).total_seconds() for attempt in (0, 1, 2, 3, 6, 1000)]
    assert seconds == [2, 2, 4, 8, 60, 60]
    assert retry_delay(policy, 1, 0.999).total_seconds() > 1


def test_progress_stays_within_bounds_and_never_falls() -> None:
    assert [raised_progress(0.5, told) for told in (0.4, 0.6, 2.0, float("nan"), -1.0)] == [0.5, 0.6, 1.0, 0.5, 0.5]


def test_a_workers_failure_is_bounded() -> None:
    error = job_error("not a reason", "x" * 1000 + "\0")
    assert (error.reason, len(error.message)) == ("INTERNAL", 500)
