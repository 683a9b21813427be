"""Uploads by form, and downloads by URL: those of storage's data plane are shown and relayed below the public root."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.direct_uploads import DirectUploads
from services.gateway.domain import Json, Reason, Refusal
from services.gateway.requests import content_length
from services.gateway.uploads import too_large
from steno.storage.v1.media_pb2 import SignedUrl, UploadForm

UPLOADS = "/audio-uploads"
_ROOT = "/api/v1"
_FORMS = "/forms"
_DISK = "disk"
_STEP_SECONDS = 10
_FORM_TYPE = re.compile(r"multipart/form-data *;[\x20-\x7e]{1,256}", re.IGNORECASE | re.ASCII)
# What the data plane refuses because of the form's permission: forged, outdated, used up. All look alike from outside.
_OF_THE_FORM = {400: Reason.BAD_REQUEST, **dict.fromkeys((403, 404, 409), Reason.NOT_FOUND)}


@dataclass(frozen=True)
class FormUploads:
    """Shows where files are posted and read, and relays forms. The signature among a form's fields is the permission.

    direct: the uploads by PUT, whose limits these share. max_form_bytes: of a form with its file.
    """

    direct: DirectUploads
    max_form_bytes: int

    def form_row(self, request: Request, form: UploadForm) -> dict[str, Json]:
        """How the client of this request posts a file."""
        here = urlsplit(form.url).netloc == urlsplit(self.direct.data_url).netloc
        url = f"{self._root(request)}{UPLOADS}" if here else form.url
        return {"upload_url": url, "fields": dict(form.fields), "expires_in": _seconds_left(form.expire_time)}

    def download_row(self, request: Request, signed: SignedUrl) -> dict[str, Json]:
        """Where the client of this request reads a file."""
        address = urlsplit(signed.url)
        shown = f"{self._root(request)}/media/{address.path.rpartition('/')[2]}?{address.query}"
        url = shown if signed.store == _DISK else signed.url
        return {"download_url": url, "expires_in": _seconds_left(signed.expire_time)}

    async def relay(self, request: Request) -> Response:
        """204 once storage has taken the form. Raises Refusal: NOT_FOUND whatever is wrong with its permission."""
        url = self.direct.data_url.rstrip("/") + _FORMS
        await self.direct.send(request, url, self.max_form_bytes, _OF_THE_FORM, self._check_head(request))
        return Response(status_code=204)

    def _check_head(self, request: Request) -> str:
        """The Content-Type with its boundary. Raises Refusal."""
        if content_length(request) > self.max_form_bytes:
            raise too_large(self.max_form_bytes)
        form_type = request.headers.get("content-type", "")
        if not _FORM_TYPE.fullmatch(form_type):
            raise Refusal(Reason.BAD_REQUEST, "Send a form as multipart/form-data: every field, then file.")
        return form_type

    def _root(self, request: Request) -> str:
        """Where this client finds the API, whatever contract its host name stands for."""
        return self.direct.proxies.origin(request) + _ROOT


def _seconds_left(expire_time: Timestamp) -> int:
    """Until then, to the next ten seconds: what a URL was made for, whatever the way here took."""
    left = expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
    return max(0, -(-int(left.total_seconds() * 1000) // (_STEP_SECONDS * 1000)) * _STEP_SECONDS)
