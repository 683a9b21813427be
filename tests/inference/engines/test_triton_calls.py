"""What the engine does when calls to Triton go wrong, over a server that misbehaves as it is told."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.inference.engines.engine import EngineFailed, LanguageUnsupported, WindowFailed, WindowParameters
from services.inference.engines.triton.calls import MOST_FAILURES, MOST_LOSSES
from services.inference.engines.triton.engine import TritonEngine, open_triton_engine
from services.inference.models.vad_state import VadState
from services.inference.pcm import SAMPLE_RATE_HZ, Pcm
from services.inference.settings import InferenceSettings
from services.inference.transcript import Verdict, WindowResult
from services.inference.triton import wire
from tests.certificates import write_identity
from tests.inference.engines.triton_peer import (
    BATCH,
    DESCRIPTION,
    FULL,
    QUICK,
    RAISED,
    REFUSED,
    TritonPeer,
    Trouble,
    answer,
    engine_at,
    serving,
)
from tests.servers import free_port

PLAIN = WindowParameters()


def window(mark: int = 0, seconds: int = 2) -> Pcm:
    """Audio that can be told from other audio."""
    return np.full(seconds * SAMPLE_RATE_HZ, mark, np.int16)


def on_mark(mark: int, trouble: Trouble) -> Callable[[wire.WindowTry], Trouble | None]:
    return lambda one: trouble if one.pcm[0] == mark and len(one.pcm) > SAMPLE_RATE_HZ else None


async def until_well(engine: TritonEngine) -> None:
    """Waits for the watch to find everything well."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await engine.check()
            except EngineFailed:
                await asyncio.sleep(0.02)


async def until_trouble(engine: TritonEngine, *words: str) -> None:
    """Waits for a check that fails with all of the words."""
    async with asyncio.timeout(30):
        while True:
            try:
                await engine.check()
            except EngineFailed as error:
                if all(word in str(error) for word in words):
                    return
            await asyncio.sleep(0.02)


async def test_server_tells_what_it_runs_and_a_window_is_heard() -> None:
    async with serving(TritonPeer()) as port, engine_at(port) as engine:
        assert not engine.languages
        await until_well(engine)
        assert (engine.name, engine.model, engine.languages, engine.translates) == ("triton", "tiny", ("en", "de"), True)
        assert engine.windows_in_flight == 2 * BATCH
        assert (await engine.transcribe_window(window(), PLAIN)).text == "yes"
        probabilities, state = await engine.speech_probabilities(np.zeros(150 * SAMPLE_RATE_HZ + 7, np.int16), VadState())
        assert len(probabilities) == -(-(150 * SAMPLE_RATE_HZ + 7) // wire.FRAME_SAMPLES)
        assert state.ended
        rows = await engine.embed(window(), [(0, 500)] * 300, 1.0)
        assert rows.shape == (300, wire.EMBEDDING_SIZE)


async def test_call_waits_for_a_server_that_comes_later_and_the_check_says_so() -> None:
    port = free_port()
    async with engine_at(port) as engine, asyncio.TaskGroup() as group:
        waiting = group.create_task(engine.transcribe_window(window(), PLAIN))
        await until_trouble(engine, f"127.0.0.1:{port}", "cannot be reached")
        assert not waiting.done()
        async with serving(TritonPeer(), port):
            async with asyncio.timeout(15):
                assert (await waiting).text == "yes"


async def test_call_survives_restarts_of_the_server() -> None:
    peer, port = TritonPeer(), free_port()
    async with engine_at(port) as engine, asyncio.TaskGroup() as group:
        async with serving(peer, port):
            await until_well(engine)
            peer.held = asyncio.Event()
            asking = group.create_task(engine.transcribe_window(window(), PLAIN))
            await peer.at_work.wait()
        await until_trouble(engine, "cannot be reached")
        peer.held = None
        async with serving(peer, port):
            assert (await asking).text == "yes"


async def test_window_that_fails_alone_is_tried_three_times() -> None:
    peer = TritonPeer(trouble=on_mark(7, RAISED))
    async with serving(peer) as port, engine_at(port) as engine:
        with pytest.raises(WindowFailed, match="boom"):
            await engine.transcribe_window(window(7), PLAIN)
        assert len(peer.windows) == MOST_FAILURES
        await engine.check()
        assert (await engine.transcribe_window(window(8), PLAIN)).text == "yes"
    assert peer.loads == []


async def test_what_is_refused_is_asked_once() -> None:
    peer = TritonPeer(trouble=on_mark(7, REFUSED))
    async with serving(peer) as port, engine_at(port) as engine:
        with pytest.raises(WindowFailed, match="temperature"):
            await engine.transcribe_window(window(7), PLAIN)
        with pytest.raises(WindowFailed, match="more than"):
            await engine.transcribe_window(window(7, seconds=31), PLAIN)
        assert len(peer.windows) == 1


async def test_unknown_language_is_not_asked_for() -> None:
    peer = TritonPeer()
    async with serving(peer) as port, engine_at(port) as engine:
        with pytest.raises(LanguageUnsupported, match="fr"):
            await engine.transcribe_window(window(), WindowParameters(language="fr"))
        assert peer.windows == []


async def test_full_queue_lowers_what_is_under_way_and_fails_nothing() -> None:
    peer, refusals = TritonPeer(), iter(range(6))
    peer.trouble = lambda one: FULL if len(one.pcm) > SAMPLE_RATE_HZ and next(refusals, None) is not None else None
    async with serving(peer) as port, engine_at(port) as engine:
        await until_well(engine)
        bounds: list[int] = []
        engine.on_capacity(lambda: bounds.append(engine.windows_in_flight))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(engine.transcribe_window(window(mark), PLAIN)) for mark in range(20)]
        assert all(task.result().text == "yes" for task in tasks)
        assert bounds[0] == BATCH
        assert peer.most_at_once <= 2 * BATCH
        await engine.check()


async def test_dead_process_is_replaced_with_the_models_own_configuration() -> None:
    peer = TritonPeer()
    async with serving(peer) as port, engine_at(port) as engine:
        await until_well(engine)
        peer.dead = True
        async with asyncio.timeout(15):
            assert (await engine.transcribe_window(window(), PLAIN)).text == "yes"
        await until_well(engine)
    (config,) = peer.loads
    assert config["max_batch_size"] == BATCH
    assert config["instance_group"][0]["kind"] == "KIND_GPU"
    assert config["parameters"]["revived"]["string_value"]


async def test_process_that_died_while_nobody_asked_is_replaced_too() -> None:
    peer = TritonPeer()
    async with serving(peer) as port, engine_at(port) as engine:
        await until_well(engine)
        peer.dead = True
        async with asyncio.timeout(15):
            while not peer.loads:
                await asyncio.sleep(0.02)
        await until_well(engine)


async def test_without_model_control_the_engine_waits_for_an_operator() -> None:
    peer = TritonPeer()
    async with serving(peer) as port, engine_at(port, may_load=False) as engine, asyncio.TaskGroup() as group:
        await until_well(engine)
        peer.dead = True
        waiting = group.create_task(engine.transcribe_window(window(), PLAIN))
        await until_trouble(engine, "whisper", "may not reload", "restart Triton")
        assert not waiting.done()
        assert peer.loads == []
        peer.dead = False
        assert (await waiting).text == "yes"


async def test_restricted_model_control_is_opened_by_its_header() -> None:
    peer = TritonPeer(control_header=("triton-grpc-protocol-key", "secret"))
    async with serving(peer) as port:
        async with engine_at(port) as engine:
            await until_well(engine)
            peer.dead = True
            await until_trouble(engine, "did not reload", "restricted")
            assert peer.loads == []
        async with engine_at(port, control_header="key=secret") as engine:
            await until_well(engine)
            assert len(peer.loads) == 1


async def test_server_behind_tls_is_asked_only_when_its_certificate_is_known(tmp_path: Path) -> None:
    identity = write_identity(tmp_path, ["localhost"])
    async with serving(TritonPeer(), identity=identity) as port:
        known = InferenceSettings(triton_address=f"localhost:{port}", triton_tls=True, triton_tls_ca_file=identity.certificate)
        async with open_triton_engine(known) as engine:
            await until_well(engine)
        async with open_triton_engine(known.model_copy(update={"triton_tls_ca_file": None})) as engine:
            await until_trouble(engine, "Triton at localhost", "cannot be reached", "CERTIFICATE")


async def test_window_that_kills_its_process_is_given_up_and_takes_no_other_along() -> None:
    peer = TritonPeer(poison=lambda one: bool(one.pcm[0] == 7))
    async with serving(peer) as port, engine_at(port) as engine:
        await until_well(engine)
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(engine.transcribe_window(window(mark), PLAIN)) for mark in (1, 2, 3, 4, 5)]
            with pytest.raises(WindowFailed):
                await engine.transcribe_window(window(7), PLAIN)
        assert all(task.result().text == "yes" for task in others)
        assert sum(one.pcm[0] == 7 for one in peer.windows) == MOST_LOSSES
        await until_well(engine)


async def test_model_that_is_not_loaded_is_loaded() -> None:
    peer = TritonPeer(loaded=False)
    async with serving(peer) as port, engine_at(port) as engine:
        await until_trouble(engine, "has not loaded the model whisper")
        async with asyncio.timeout(15):
            assert (await engine.transcribe_window(window(), PLAIN)).text == "yes"
    assert peer.loads == [{}]


async def test_another_model_of_the_name_is_told_and_not_reloaded() -> None:
    peer = TritonPeer(description=None)
    async with serving(peer) as port, engine_at(port) as engine:
        await until_trouble(engine, "whisper", "does not speak our protocol")
        peer.description = DESCRIPTION
        await until_well(engine)
    assert peer.loads == []


async def test_model_that_does_nothing_with_work_in_hand_is_reloaded() -> None:
    peer = TritonPeer()
    async with serving(peer) as port, engine_at(port, times=replace(QUICK, stuck_seconds=1.0)) as engine:
        await until_well(engine)
        peer.held = asyncio.Event()
        async with asyncio.timeout(30):
            assert (await engine.transcribe_window(window(), PLAIN)).text == "yes"
    assert len(peer.loads) == 1


async def test_model_that_answers_calls_is_spared_the_canary() -> None:
    peer = TritonPeer()
    async with serving(peer) as port, engine_at(port) as engine:
        await until_well(engine)
        before, until = peer.asked[wire.WHISPER], peer.asked[wire.VAD] + 4

        async def ask() -> None:
            while peer.asked[wire.VAD] < until:
                await engine.transcribe_window(window(), PLAIN)

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
        assert peer.asked[wire.WHISPER] - before - len(peer.windows) <= 1


async def test_cancelled_call_is_cancelled_at_the_server() -> None:
    peer = TritonPeer()
    async with serving(peer) as port, engine_at(port) as engine:
        await until_well(engine)
        peer.held = asyncio.Event()
        asking = asyncio.create_task(engine.transcribe_window(window(), PLAIN))
        await peer.at_work.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            await peer.cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_waiting_for_a_server_ends_when_cancelled() -> None:
    async with engine_at(free_port()) as engine:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await engine.transcribe_window(window(), PLAIN)


def doubtful_below(temperature: float) -> Callable[[wire.WindowTry], WindowResult]:
    def hear(one: wire.WindowTry) -> WindowResult:
        found = replace(answer(one), text=f"at {one.temperature:.1f}", language="de", average_log_probability=-2 + one.temperature)
        found = replace(found, verdict=Verdict.ACCEPTED if one.temperature > temperature - 0.01 else Verdict.DOUBTFUL)
        return found if one.language else replace(found, language_probabilities={"de": 0.9})

    return hear


async def test_doubtful_window_climbs_with_the_language_of_its_first_try() -> None:
    peer = TritonPeer(result=doubtful_below(0.4))
    async with serving(peer) as port, engine_at(port) as engine:
        result = await engine.transcribe_window(window(), PLAIN)
    assert [round(one.temperature, 1) for one in peer.windows] == [0.0, 0.2, 0.4]
    assert [one.language for one in peer.windows] == [None, "de", "de"]
    assert (result.text, result.verdict) == ("at 0.4", Verdict.ACCEPTED)
    assert result.language_probabilities == {"de": 0.9}


async def test_language_that_may_not_be_asked_for_is_found_out_at_every_rung() -> None:
    peer = TritonPeer(result=lambda one: replace(doubtful_below(0.4)(one), language="fr"))
    async with serving(peer) as port, engine_at(port) as engine:
        assert (await engine.transcribe_window(window(), PLAIN)).language == "fr"
    assert [one.language for one in peer.windows] == [None, None, None]


async def test_best_of_six_doubtful_tries_is_kept() -> None:
    peer = TritonPeer(result=lambda one: replace(doubtful_below(9.0)(one), average_log_probability=-abs(one.temperature - 0.6)))
    async with serving(peer) as port, engine_at(port) as engine:
        result = await engine.transcribe_window(window(), PLAIN)
    assert len(peer.windows) == 6
    assert (result.text, result.verdict) == ("at 0.6", Verdict.DOUBTFUL)
