"""What every contract says for a reason, unless it has words of its own."""

from collections.abc import Mapping

from services.gateway.domain import Reason

_BAD_FIELD = "A field has a value that is not allowed."
_BAD_KEY = "An Idempotency-Key is sent once and has 1 to 255 letters, digits or characters of _ . : / and -."
_BAD_LANGUAGE = "The language is not a known two-letter code of ISO 639-1 in lower case."
_BAD_MIME = "The file is not audio or video that can be transcribed."
_BUSY = "The server has its hands full. Try again in a moment."
_FORBIDDEN = "This API key may not do that."
_INVALID_KEY = "The API key is unknown, revoked or expired."
_INVALID_TOKEN = "The bearer token is not valid here."  # noqa: S105 - a sentence
_NOT_FOUND = "There is nothing here for this API key."
_TOO_LARGE = "The file is larger than allowed."

SENTENCES: Mapping[str, str] = {
    "INTERNAL": "The transcription backend failed to answer this request. It is safe to try again.",
    Reason.MISSING_API_KEY: "Send your API key in the X-API-Key header.",
    Reason.INVALID_API_KEY: _INVALID_KEY,
    Reason.INVALID_TOKEN: _INVALID_TOKEN,
    "INVALID_GUEST_TOKEN": "The guest token is unknown.",
    "AUTHENTICATION_REQUIRED": "This job needs proof of who you are: a user's bearer token, or its claim token in X-Claim-Token.",
    Reason.FORBIDDEN: _FORBIDDEN,
    "ACCESS_DENIED": _FORBIDDEN,
    "INSUFFICIENT_SCOPE": _FORBIDDEN,
    Reason.BAD_ID: "The id is not a UUID.",
    Reason.BAD_REQUEST: "The request is malformed.",
    "INVALID_PAGE_TOKEN": "The request is malformed.",
    Reason.BAD_FIELD: _BAD_FIELD,
    "INVALID_FIELD": _BAD_FIELD,
    Reason.BAD_FORMAT: "The format is one of txt, json, srt, vtt and docx.",
    Reason.BAD_SOURCE: "The source is one of upload, url, recording and api.",
    Reason.BAD_LANGUAGE: _BAD_LANGUAGE,
    "INVALID_LANGUAGE": _BAD_LANGUAGE,
    "INVALID_URL": "The URL is not one that can be fetched: send an http or https address of a public host.",
    Reason.BAD_IDEMPOTENCY_KEY: _BAD_KEY,
    "INVALID_IDEMPOTENCY_KEY": _BAD_KEY,
    Reason.IDEMPOTENCY_KEY_REUSED: "This Idempotency-Key belongs to a request with other content.",
    Reason.NO_FILE: "The form has no file.",
    "EMPTY_MEDIA": "The file is empty.",
    "UNSUPPORTED_MEDIA": _BAD_MIME,
    "BROKEN_MEDIA": _BAD_MIME,
    Reason.FILE_TOO_LARGE: _TOO_LARGE,
    "MEDIA_TOO_LARGE": _TOO_LARGE,
    "NO_SPEECH": "The recording has too little speech.",
    "MEDIA_TOO_LONG": "The audio is longer than allowed.",
    "UPLOAD_INCOMPLETE": "The upload has not arrived yet: PUT the whole file to the upload URL first.",
    Reason.NOT_FOUND: _NOT_FOUND,
    "JOB_NOT_FOUND": _NOT_FOUND,
    "API_KEY_NOT_FOUND": _NOT_FOUND,
    "CHECKOUT_NOT_FOUND": _NOT_FOUND,
    Reason.METHOD_NOT_ALLOWED: "This method is not allowed here.",
    Reason.NOT_READY: "The job has not ended yet.",
    Reason.JOB_FAILED: "The job failed and has no transcript.",
    Reason.JOB_CANCELLED: "The job was cancelled and has no transcript.",
    "JOB_ALREADY_ENDED": "The job has ended already.",
    "MEDIA_TAKEN": "Another job was made from this upload. Send the file again.",
    Reason.AUDIO_EXPIRED: "The audio was deleted at the end of its retention; the transcript is kept.",
    Reason.AUDIO_MISSING: "The audio is no longer stored.",
    Reason.RATE_LIMITED: "Too many requests in a short time. Slow down and try again.",
    "NO_CREDITS": "There is not enough credit for this audio.",
    "UPLOAD_LIMIT_EXCEEDED": "The monthly number of uploads of this plan is used up.",
    "UNKNOWN_CREDIT_PACK": "There is no credit pack of this name.",
    "PAYMENTS_DISABLED": "Credit cannot be bought here; ask the operator of this installation.",
    "PAYMENT_PROVIDER_FAILED": "The payment provider did not answer. Nothing was charged; try again.",
    "INVALID_PAYMENT_EVENT": "The event does not carry a valid signature.",
    "LICENCE_NOT_ALLOWED": "Only media under a Creative Commons licence is fetched from this site.",
    "SITE_NOT_SUPPORTED": "This installation does not fetch media from this site.",
    "FETCH_BLOCKED": "The URL leads to an address that is not fetched from.",
    "FETCH_FAILED": "The media could not be fetched from the URL.",
    Reason.MODEL_NOT_FOUND: "There is no such model.",
    "DATASET_NOT_FOUND": _NOT_FOUND,
    "AUDIO_NOT_FOUND": "There is no such audio file in this dataset.",
    "ANNOTATION_SET_NOT_FOUND": _NOT_FOUND,
    "ANNOTATION_NOT_FOUND": _NOT_FOUND,
    "TRAINING_JOB_NOT_FOUND": _NOT_FOUND,
    "INFERENCE_JOB_NOT_FOUND": _NOT_FOUND,
    "FILE_NOT_FOUND": _NOT_FOUND,
    "ANNOTATION_SET_PUBLISHED": "The annotation set is published and can no longer change.",
    "ANNOTATION_SET_EMPTY": "The annotation set has no annotations to publish.",
    "ANNOTATION_SET_NOT_PUBLISHED": "The annotation set is a draft: publish it before training on it.",
    "ARTIFACT_TYPE_IN_USE": "Annotations use an artifact type that would be gone.",
    "UNKNOWN_ARTIFACT_TYPE": "The dataset declares no such artifact type.",
    "AUDIO_IN_USE": "A published annotation set has annotations in this file.",
    "AUDIO_NOT_READY": "Not every audio file of the dataset is ready: wait for those in preparation and delete those that failed.",
    "TOO_LITTLE_AUDIO": "The dataset has less than the 5 minutes of audio that a training needs.",
    "TOO_FEW_ANNOTATIONS": "Every artifact type to train needs at least one annotation in the set.",
    "MODEL_INACTIVE": "The model is not active.",
    "MODEL_IN_USE": "Files wait for this model. Let them end, or cancel their jobs.",
    Reason.OVERLOADED: _BUSY,
    Reason.STORE_FULL: _BUSY,
    "SERVICE_UNAVAILABLE": "The transcription backend cannot be reached. Try again soon.",
    Reason.BACKEND_ERROR: "The transcription backend failed to answer this request. It is safe to try again.",
    Reason.BACKEND_UNREACHABLE: "The transcription backend cannot be reached. Try again soon.",
}

# The request field that a reason is about.
FIELD_OF: Mapping[str, str] = {
    "INVALID_LANGUAGE": "language",
    Reason.BAD_LANGUAGE: "language",
    Reason.BAD_SOURCE: "source",
    "INVALID_URL": "url",
}
