"""Summaries: the sentences that say most, or a language model's, and always something."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.settings import GatewaySettings
from services.gateway.summaries.chat import MAX_ANSWER_BYTES, MAX_PROMPT_CHARACTERS, MAX_SUMMARY_CHARACTERS, prompt_of
from services.gateway.summaries.extractive import ExtractiveSummarizer, extract
from services.gateway.summaries.sentences import MOST_SENTENCES, sentences, terms
from services.gateway.summaries.summaries import Summaries, open_summaries
from services.gateway.summaries.summarizer import Summary
from steno.jobs.v1.transcript_pb2 import Segment, Transcript

TALK = [
    "good morning everyone and welcome",
    "the budget for the new office is the main topic today",
    "yes",
    "we spent more of the budget on the office than planned",
    "i had soup for lunch",
    "the office needs a larger budget for furniture and for the network",
    "okay",
    "the weather was nice on the weekend",
    "we decide on friday whether the budget of the office grows",
    "thank you and goodbye",
]


def spoken(*texts: str, speaker: str = "") -> Transcript:
    return Transcript(speech_detected=True, segments=[Segment(text=text, speaker=speaker) for text in texts])


def test_what_comes_up_again_and_again_is_the_summary() -> None:
    summary = extract(spoken(*TALK))
    assert summary.count("budget") == 3
    assert "soup" not in summary
    assert summary.startswith("The budget for the new office is the main topic today. ")


def test_sentences_keep_their_order_and_their_number_is_bounded() -> None:
    said = [f"{text} number {number}" for number in range(20) for text in TALK]
    found = extract(spoken(*said)).lower().split(". ")
    places = [said.index(sentence.removesuffix(".")) for sentence in found]
    assert places == sorted(places)
    assert len(places) == 5


def test_a_sentence_is_not_said_twice() -> None:
    said = ["the budget of the office grows on friday with furniture", *TALK, "the budget of the office grows on friday with furniture"]
    assert extract(spoken(*said)).lower().count("the budget of the office grows on friday with furniture") == 1


def test_short_talk_is_its_own_summary() -> None:
    assert extract(spoken("hello there", "all is well. Really!")) == "Hello there. All is well. Really!"
    assert extract(Transcript(speech_detected=False)) == ""


def test_segments_of_engines_that_punctuate_are_parted_into_sentences() -> None:
    assert sentences(spoken("One. Two? “Three!” Four", "五。六")) == ["One.", "Two?", "“Three!”", "Four", "五。", "六"]


def test_terms_are_words_or_pairs_of_characters() -> None:
    assert list(terms("Don't stop, MÜLLER 42!")) == ["don't", "stop", "müller", "42"]
    assert list(terms("東京都 ok 人")) == ["東京", "京都", "ok", "人"]


def test_talk_in_a_script_without_spaces_is_summarized_too() -> None:
    said = [
        "予算について話します。",
        "昼にスープを飲みました。",
        "新しい事務所の予算を増やします。",
        "天気がよかったです。",
        "事務所の予算は金曜日に決めます。",
    ]
    summary = extract(spoken(*said))
    assert summary.count("予算") == 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=30))
def test_any_talk_has_the_same_summary_each_time(texts: list[str]) -> None:
    transcript = spoken(*texts)
    assert extract(transcript) == extract(transcript)


def test_ten_hours_of_talk_take_seconds() -> None:
    transcript = spoken(*[f"{text} {number} and some more words {number % 97} follow here" for number in range(2_000) for text in TALK])
    started = time.process_time()
    assert len(sentences(transcript)) == MOST_SENTENCES
    assert extract(transcript)
    assert len(prompt_of(transcript)) <= MAX_PROMPT_CHARACTERS
    assert time.process_time() - started < 20


@dataclass
class Chat:
    """A chat endpoint that answers as told."""

    answer: Callable[[], bytes]
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    hanging: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        self.headers.append({"path": lines[0].split()[1], **headers})
        self.asked.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
        if self.hanging:
            await reader.read()
        body = self.answer()
        writer.write(f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        writer.close()


def says(text: object) -> Callable[[], bytes]:
    return lambda: json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@asynccontextmanager
async def serving(chat: Chat) -> AsyncIterator[Chat]:
    server = await asyncio.start_server(chat.serve, "127.0.0.1", 0)
    async with server:
        chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield chat


def by_chat(chat: Chat, **given: Any) -> GatewaySettings:
    return GatewaySettings(summary_chat_url=chat.url, summary_chat_model="small", **given)


async def test_a_chat_endpoint_writes_the_summary_once(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("secret\n")
    document = spoken("hello there", speaker="SPEAKER_00").SerializeToString()
    async with (
        serving(Chat(says("They greet\neach other."))) as chat,
        open_summaries(by_chat(chat, summary_chat_key_file=key_file)) as made,
    ):
        assert [await made.read("a-1", document) for _ in range(3)] == ["They greet each other."] * 3
    assert (len(chat.asked), chat.asked[0]["model"], chat.headers[0]["path"]) == (1, "small", "/v1/chat/completions")
    assert chat.headers[0]["authorization"] == "Bearer secret"
    assert chat.asked[0]["messages"][1] == {"role": "user", "content": "[Speaker 1]: hello there"}


FAULTS: dict[str, Chat] = {
    "status": Chat(says("no"), status=500),
    "no json": Chat(lambda: b"<html>"),
    "no text": Chat(says(None)),
    "blank": Chat(says("  ")),
    "other form": Chat(lambda: b'{"choices": []}'),
    "nested": Chat(lambda: b"[" * 100_000),
    "endless": Chat(lambda: says("x" * MAX_ANSWER_BYTES)()),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_useless_answer_gives_an_extractive_summary(fault: str) -> None:
    document = spoken("hello there").SerializeToString()
    async with serving(FAULTS[fault]) as chat, open_summaries(by_chat(chat)) as made:
        assert await made.read("a-1", document) == "Hello there."
    assert len(chat.asked) == 1


async def test_an_endpoint_that_hangs_or_is_gone_gives_an_extractive_summary() -> None:
    document = spoken("hello there").SerializeToString()
    async with serving(Chat(says("late"), hanging=True)) as chat, open_summaries(by_chat(chat, summary_chat_timeout_seconds=0.2)) as made:
        assert await made.read("a-1", document) == "Hello there."
    async with open_summaries(by_chat(chat)) as made:
        assert await made.read("a-1", document) == "Hello there."
    async with open_summaries(GatewaySettings(summary_chat_url="not a url")) as made:
        assert await made.read("a-1", document) == "Hello there."


async def test_a_long_answer_is_cut() -> None:
    async with serving(Chat(says("word " * 2_000))) as chat, open_summaries(by_chat(chat)) as made:
        assert len(await made.read("a-1", spoken("hello").SerializeToString())) == MAX_SUMMARY_CHARACTERS


async def test_silence_is_not_sent_anywhere() -> None:
    async with serving(Chat(says("no"))) as chat, open_summaries(by_chat(chat)) as made:
        assert await made.read("a-1", Transcript().SerializeToString()) == ""
    assert chat.asked == []


@dataclass
class Counting:
    """An extractive summarizer that counts; its summaries last as told."""

    lasting: bool = True
    made: int = 0

    async def summarize(self, transcript: Transcript) -> Summary:
        self.made += 1
        return Summary((await ExtractiveSummarizer().summarize(transcript)).text, self.lasting)


async def test_who_asks_meanwhile_waits_for_the_one_in_the_making() -> None:
    counting = Counting()
    made = Summaries(counting, most_kept=2)
    document = spoken("hello there").SerializeToString()
    assert set(await asyncio.gather(*(made.read("a-1", document) for _ in range(5)))) == {"Hello there."}
    assert counting.made == 1


async def test_only_so_many_are_kept() -> None:
    counting = Counting()
    made = Summaries(counting, most_kept=2)
    for artefact_id in ("a-1", "a-2", "a-3", "a-3", "a-2", "a-1"):
        await made.read(artefact_id, spoken("hello").SerializeToString())
    assert counting.made == 4


async def test_a_substitute_is_replaced_when_its_time_is_over() -> None:
    counting = Counting(lasting=False)
    made = Summaries(counting, most_kept=2, try_again_seconds=60)
    for _ in range(2):
        await made.read("a-1", spoken("hello").SerializeToString())
    assert counting.made == 1
    soon = Summaries(counting, most_kept=2, try_again_seconds=-1)
    for _ in range(2):
        await soon.read("a-1", spoken("hello").SerializeToString())
    assert counting.made == 3
