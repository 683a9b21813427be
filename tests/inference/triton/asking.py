"""Triton's own client, with arrays in and out."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import np_to_triton_dtype

from services.inference.triton.wire import Arrays
from tests.triton_server import RunningTriton

ANSWER_SECONDS = 120.0
HELD_SECONDS = 0.1
CHANNEL = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Asker:
    """One connection."""

    def __init__(self, running: RunningTriton) -> None:
        self._running = running
        self.client = InferenceServerClient(running.address, channel_args=CHANNEL)

    async def ask(self, model: str, inputs: Arrays, priority: int = 0) -> Arrays:
        """The outputs. Raises InferenceServerException."""
        tensors = []
        for name, array in inputs.items():
            tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(np.ascontiguousarray(array))
            tensors.append(tensor)
        result = await self.client.infer(model, tensors, client_timeout=ANSWER_SECONDS, priority=priority)
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

    async def batches(self, model: str) -> dict[int, int]:
        """How many batches of each size the model has heard."""
        statistics = await self.client.get_inference_statistics(model, as_json=True, client_timeout=10)
        return {int(one["batch_size"]): int(one["compute_infer"]["count"]) for one in statistics["model_stats"][0].get("batch_stats", [])}

    async def until_counted(self, model: str, before: dict[int, int], requests: int) -> dict[int, int]:
        """Batches since `before`, once they hold so many requests: a batch is counted after its answers are sent."""
        async with asyncio.timeout(10):
            while True:
                new = {size: count - before.get(size, 0) for size, count in (await self.batches(model)).items()}
                if sum(size * count for size, count in new.items()) >= requests:
                    return {size: count for size, count in new.items() if count}
                await asyncio.sleep(0.01)

    async def outcomes(self, model: str) -> dict[str, int]:
        """How requests of the model ended."""
        lines = (await asyncio.to_thread(self._metrics)).splitlines()
        begin = f'steno_triton_requests{{model="{model}",outcome="'
        return {line.removeprefix(begin).split('"')[0]: int(line.split()[-1]) for line in lines if line.startswith(begin)}

    async def pending(self, model: str) -> int:
        """How many requests wait for the model."""
        lines = (await asyncio.to_thread(self._metrics)).splitlines()
        begin = f'nv_inference_pending_request_count{{model="{model}"'
        return sum(int(line.split()[-1]) for line in lines if line.startswith(begin))

    async def until_waiting(self, model: str, count: int) -> int:
        """Wait until so many wait for longer than the queue holds them to fill a batch, for the model is busy; how many then do."""
        async with asyncio.timeout(30):
            while True:
                before = await self.pending(model)
                await asyncio.sleep(HELD_SECONDS)
                if min(before, waiting := await self.pending(model)) >= count:
                    return waiting

    def _metrics(self) -> str:
        address = f"http://127.0.0.1:{self._running.server.metrics_port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            text: Any = answer.read().decode()
        return str(text)


@asynccontextmanager
async def asker(running: RunningTriton) -> AsyncIterator[Asker]:
    """Closed with the block."""
    asking = Asker(running)
    try:
        yield asking
    finally:
        await asking.client.close()
