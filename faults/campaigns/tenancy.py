"""Every id that REST, gRPC and signed URLs take, asked for by strangers: another's thing is answered like one that is not there."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack

import grpc

from faults.campaign import Figure, Options
from faults.doors.belongings import Belongings, gather, random_value
from faults.doors.declared import Door, doors, read_contracts, without_ids
from faults.doors.remote_calls import SERVERS, Method, call, methods
from faults.doors.rightful import Rightful
from faults.doors.strangers import Strangers, Tally
from faults.doors.tenants import running_tenants

_SHOWN = 12


def run(options: Options) -> Sequence[Figure]:
    """The whole matrix; the doors are those that the gateway and the protos declare, whatever they are."""
    with running_tenants(options.folder) as tenants:
        first, second = gather(tenants.first), gather(tenants.second)
        contracts = asyncio.run(read_contracts(tenants.opened.mesh))
        found, tally = doors(contracts), Tally()
        strangers = Strangers(first, second, tally, random.Random(options.seed), options.long)
        for door in found:
            strangers.ask(door)
        for prefix, operation in without_ids(contracts):
            strangers.look_around(prefix, operation.path)
        strangers.ask_data_plane()
        asyncio.run(_ask_servers(first, second, tally))
        return [*_figures(found, tally), *_controls(Rightful(first), found)]


def _figures(found: Sequence[Door], tally: Tally) -> Sequence[Figure]:
    for line in [*tally.unequal[:_SHOWN], *tally.leaks[:_SHOWN]]:
        print(f"   {line}", flush=True)
    return [
        Figure("places of REST that take an id", len(found), at_least=30),
        Figure("fields of gRPC that take an id", len(methods()), at_least=20),
        *(Figure(f"cells: {kind}", count, at_least=1) for kind, count in sorted(tally.cells.items())),
        Figure("cells", tally.cells.total(), at_least=1000),
        Figure("cells that tell something", len(tally.unequal), at_most=0),
        Figure("answers that hold something of the other workspace", len(tally.leaks), at_most=0),
    ]


def _controls(rightful: Rightful, found: Sequence[Door]) -> Sequence[Figure]:
    """Reads come first: the rest changes things."""
    gone = rightful.gone()
    refused = [told for door in sorted(found, key=lambda door: door.operation.method != "GET") if (told := rightful.enter(door))]
    for line in refused:
        print(f"   {line}", flush=True)
    return [
        Figure("things that strangers ended", len(gone), at_most=0),
        Figure("doors closed to whom they belong", len(refused), at_most=0),
    ]


async def _ask_servers(first: Belongings, second: Belongings, tally: Tally) -> None:
    async with AsyncExitStack() as stack:
        addresses = first.workspace.mesh.ready["grpc"]
        channels = {name: await stack.enter_async_context(grpc.aio.insecure_channel(addresses[name])) for name in SERVERS}
        for method in methods():
            await _ask_method(channels[method.server], method, (first, second), tally)


async def _ask_method(channel: grpc.aio.Channel, method: Method, belongings: tuple[Belongings, Belongings], tally: Tally) -> None:
    first, second = belongings
    mine = second.workspace
    for name, key in (("owner key", mine.owner_key), ("app key", mine.app_key), ("key that reads", mine.read_key)):
        nothing = await call(channel, method, random_value(method.kind), key)
        for thing in first.of(method.kind):
            told = await call(channel, method, thing.id, key)
            tally.compare(f"{method} by {name} for a {thing.state} {thing.kind} of {thing.owner}", f"gRPC {method.server}", told, nothing)
