"""Executed batches are counted once each, also when a model began anew."""

from services.inference.engines.triton.batches import BatchWatch, since
from services.inference.engines.triton.server import TritonAddress, open_triton_server
from services.inference.triton import wire
from services.mesh import semconv
from tests.inference.engines.triton_peer import TritonPeer, serving


def observed() -> tuple[int, float]:
    """Batches of Whisper that were observed, and the requests in them."""
    [samples] = [family.samples for family in semconv.BATCH_SIZE.collect()]
    of = {sample.name: sample.value for sample in samples if sample.labels.get("model") == wire.WHISPER and "le" not in sample.labels}
    return int(of.get("steno_batch_size_count", 0)), of.get("steno_batch_size_sum", 0.0)


async def test_batches_since_the_last_look_are_observed_and_none_before_the_first() -> None:
    peer = TritonPeer()
    peer.finished[wire.WHISPER] = 40
    async with serving(peer) as port, open_triton_server(TritonAddress(f"127.0.0.1:{port}")) as server:
        watch, before = BatchWatch(server, (wire.WHISPER,)), observed()
        await watch.look()
        assert observed() == before
        peer.finished[wire.WHISPER] += 3
        await watch.look()
        assert observed() == (before[0] + 3, before[1] + 3)


async def test_a_server_that_is_away_is_no_trouble() -> None:
    async with serving(TritonPeer()) as port:
        pass
    async with open_triton_server(TritonAddress(f"127.0.0.1:{port}")) as server:
        before = observed()
        await BatchWatch(server, (wire.WHISPER,)).look()
    assert observed() == before


def test_only_what_was_added_counts() -> None:
    assert since({1: 5, 8: 2}, {1: 6, 8: 2, 4: 1}) == {1: 1, 8: 0, 4: 1}


def test_counts_that_shrank_began_anew() -> None:
    assert since({1: 5, 8: 2}, {1: 2}) == {1: 2}
    assert since({1: 5, 8: 2}, {1: 7, 8: 1}) == {1: 7, 8: 1}
