"""What arrives for announced uploads."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.storage.domain import Kind, Receipt, State, not_found
from services.storage.store import objects
from services.storage.store.tables import MODELS
from services.storage.usecases.depot import Depot
from services.storage.usecases.reading import filename_of


async def expect_upload(depot: Depot, kind: Kind, object_id: str) -> str:
    """The name of an upload that bytes may arrive for. Raises NotFound."""
    row = await objects.find(depot.database, MODELS[kind], object_id)
    if row is None or row.state != State.UPLOADING:
        raise not_found(kind, object_id)
    return filename_of(row)


async def record_receipt(depot: Depot, kind: Kind, object_id: str, receipt: Receipt) -> None:
    """Remember what arrived. Of several PUTs the last to arrive whole counts; the bytes of the others go.

    Raises NotFound when the upload was committed or forgotten meanwhile.
    """

    async def unit(session: AsyncSession) -> tuple[bool, str | None]:
        row = await objects.lock(session, MODELS[kind], object_id)
        if row is None or row.state != State.UPLOADING:
            return False, receipt.object_key
        replaced_key = row.object_key
        await objects.set_receipt(session, row, receipt)
        fault.point("storage.receipt.before_commit")
        return True, replaced_key

    recorded, useless_key = await depot.database.grouped(unit)
    fault.point("storage.receipt.after_commit")
    if useless_key is not None:
        await depot.blobs.delete(useless_key)
    if not recorded:
        raise not_found(kind, object_id)
