"""Operations that take media in."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.contracts.native import schemas
from services.gateway.contracts.native.submission import Submission
from services.gateway.domain import Reason
from services.gateway.operation import FORM_TYPE, Answer, Body, OpenOperation, Operation, RateKind
from services.gateway.requests import read_id

_REPLAY = {"X-Idempotent-Replay": "true"}
BINARY_TYPE = "application/octet-stream"
_OF_JOB = (Reason.BAD_ID, "JOB_NOT_FOUND", "AUTHENTICATION_REQUIRED")
_MEDIA = ("EMPTY_MEDIA", "UNSUPPORTED_MEDIA", "MEDIA_TOO_LONG")
_ORDER = (
    Reason.BAD_REQUEST,
    Reason.BAD_FIELD,
    Reason.BAD_SOURCE,
    Reason.BAD_LANGUAGE,
    Reason.BAD_IDEMPOTENCY_KEY,
    Reason.IDEMPOTENCY_KEY_REUSED,
    "NO_CREDITS",
    "UPLOAD_LIMIT_EXCEEDED",
)


def submit_operations(submission: Submission) -> Sequence[Operation | OpenOperation]:
    """A file, a URL, an upload of the client's own."""
    return [_submit_file(submission), _submit_url(submission), _init(submission), _put(submission), _complete(submission)]


def _submit_file(submission: Submission) -> Operation:
    return Operation(
        "POST",
        "/transcribe",
        "submit_file",
        "Transcribe a file",
        submission.submit,
        _accepting(schemas.Accepted),
        (*_ORDER, Reason.NO_FILE, Reason.FILE_TOO_LARGE, *_MEDIA, Reason.OVERLOADED),
        Body(schemas.SubmitFields, FORM_TYPE, "file"),
        headers=schemas.SubmitHeaders,
        rate=RateKind.UPLOADS,
        precheck=submission.submissions.precheck,
    )


def _submit_url(submission: Submission) -> Operation:
    return Operation(
        "POST",
        "/transcribe/url",
        "submit_url",
        "Transcribe media at a URL",
        submission.submit_url,
        _accepting(schemas.Accepted),
        (*_ORDER, "INVALID_URL"),
        Body(schemas.UrlOrder),
        headers=schemas.SubmitHeaders,
        rate=RateKind.UPLOADS,
    )


def _init(submission: Submission) -> Operation:
    return Operation(
        "POST",
        "/uploads/init",
        "init_upload",
        "Announce a file that the client will upload by itself",
        submission.init_upload,
        _accepting(schemas.AcceptedUpload),
        (*_ORDER, Reason.FILE_TOO_LARGE),
        Body(schemas.UploadOrder),
        headers=schemas.SubmitHeaders,
        rate=RateKind.UPLOADS,
    )


def _put(submission: Submission) -> OpenOperation:
    async def put(request: Request) -> Response:
        """The file behind an upload URL. Raises Refusal."""
        return await submission.uploads.relay(request, read_id(request, "media_id"))

    return OpenOperation(
        "PUT",
        "/uploads/{media_id}",
        "put_upload",
        "The bytes of an announced file; the query of the upload URL is the permission",
        put,
        {204: Answer("They have arrived.")},
        (Reason.BAD_ID, Reason.NOT_FOUND, Reason.BAD_REQUEST, Reason.FILE_TOO_LARGE, Reason.OVERLOADED),
        body=Body(schemas.FileBytes, BINARY_TYPE),
    )


def _complete(submission: Submission) -> Operation:
    return Operation(
        "POST",
        "/uploads/{job_id}/complete",
        "complete_upload",
        "Say that the bytes have arrived",
        submission.complete_upload,
        {202: Answer("The job waits for a worker, or is further already.", schemas.Accepted)},
        (*_OF_JOB, "UPLOAD_INCOMPLETE", "JOB_ALREADY_ENDED", Reason.JOB_FAILED, *_MEDIA, "NO_CREDITS", "UPLOAD_LIMIT_EXCEEDED"),
    )


def _accepting(model: type[schemas.Accepted]) -> dict[int, Answer]:
    return {
        202: Answer("The job is accepted.", model),
        200: Answer("The same request made this job before.", model, headers=_REPLAY),
    }
