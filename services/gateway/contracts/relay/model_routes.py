"""Operations that train models and run them."""

from collections.abc import Sequence

from services.gateway.contracts.relay import answers, schemas
from services.gateway.contracts.relay.inference import Inference
from services.gateway.contracts.relay.models import Models
from services.gateway.contracts.relay.training import Training
from services.gateway.domain import Reason
from services.gateway.operation import Answer, Body, Operation, RateKind

_BODY = (Reason.BAD_REQUEST, Reason.BAD_FIELD)
_OF_TRAINING = (Reason.BAD_ID, "TRAINING_JOB_NOT_FOUND")
_OF_MODEL = (Reason.BAD_ID, "MODEL_NOT_FOUND")
_OF_ORDER = (Reason.BAD_ID, "INFERENCE_JOB_NOT_FOUND")
_OF_FILE = (*_OF_ORDER, "FILE_NOT_FOUND")
_UNTRAINABLE = (
    "ANNOTATION_SET_NOT_PUBLISHED",
    "AUDIO_NOT_READY",
    "TOO_LITTLE_AUDIO",
    "TOO_FEW_ANNOTATIONS",
    "UNKNOWN_ARTIFACT_TYPE",
)
_TRAINING = "/training-jobs/{training_job_id}"
_MODEL = "/models/{model_id}"
_ORDER = "/inference-jobs/{inference_job_id}"
_FILES = _ORDER + "/files"
_FILE = _FILES + "/{file_id}"


def training_operations(training: Training) -> Sequence[Operation]:
    """Orders to train."""
    refusals = (*_BODY, "DATASET_NOT_FOUND", "ANNOTATION_SET_NOT_FOUND", *_UNTRAINABLE)
    made, page = {201: Answer("The order.", answers.TrainingJobRow)}, {200: Answer("A page of orders.", answers.TrainingJobPage)}
    one, ended = {200: Answer("The order.", answers.TrainingJobRow)}, {200: Answer("It has ended.", answers.TrainingJobRow)}
    cancelling, query, body = (*_OF_TRAINING, "JOB_ALREADY_ENDED"), schemas.PageFields, Body(schemas.NewTraining)
    return [
        Operation(
            "POST", "/training-jobs", "create_training_job", "Train a model", training.create, made, refusals, body, rate=RateKind.UPLOADS
        ),
        Operation("GET", "/training-jobs", "list_training_jobs", "Trainings, newest first", training.list_page, page, query=query),
        Operation("GET", _TRAINING, "get_training_job", "One training", training.get, one, _OF_TRAINING),
        Operation("POST", _TRAINING + "/cancel", "cancel_training_job", "End a training", training.cancel, ended, cancelling),
    ]


def model_operations(models: Models) -> Sequence[Operation]:
    """What trainings made."""
    page, one = {200: Answer("A page of models.", answers.ModelPage)}, {200: Answer("The model.", answers.ModelRow)}
    gone, changes, query = {204: Answer("It is gone.")}, Body(schemas.ModelChanges), schemas.ModelQuery
    return [
        Operation("GET", "/models", "list_models", "Models, newest first", models.list_page, page, query=query),
        Operation("GET", _MODEL, "get_model", "One model", models.get, one, _OF_MODEL),
        Operation("PATCH", _MODEL, "update_model", "Change a model", models.update, one, (*_OF_MODEL, *_BODY), changes),
        Operation("DELETE", _MODEL, "delete_model", "Delete a model", models.delete, gone, (*_OF_MODEL, "MODEL_IN_USE")),
    ]


def inference_operations(inference: Inference) -> Sequence[Operation]:
    """Orders to run a model."""
    refusals = (*_BODY, "MODEL_NOT_FOUND", "MODEL_INACTIVE")
    made, page = (
        {201: Answer("An order without files.", answers.InferenceJobRow)},
        {200: Answer("A page of orders.", answers.InferenceJobPage)},
    )
    one, ended = {200: Answer("The order.", answers.InferenceJobDetail)}, {200: Answer("It has ended.", answers.InferenceJobRow)}
    cancelling, query, body = (*_OF_ORDER, "JOB_ALREADY_ENDED"), schemas.PageFields, Body(schemas.NewInference)
    uploads = RateKind.UPLOADS
    return [
        Operation(
            "POST", "/inference-jobs", "create_inference_job", "Begin to run a model", inference.create, made, refusals, body, rate=uploads
        ),
        Operation("GET", "/inference-jobs", "list_inference_jobs", "Orders, newest first", inference.list_page, page, query=query),
        Operation("GET", _ORDER, "get_inference_job", "One order with its files", inference.get, one, _OF_ORDER),
        Operation("POST", _ORDER + "/cancel", "cancel_inference_job", "End an order", inference.cancel, ended, cancelling),
        *_file_operations(inference),
    ]


def _file_operations(inference: Inference) -> Sequence[Operation]:
    form = {200: Answer("How its bytes are posted.", answers.AnnouncedFile)}
    arrived = {200: Answer("What became of it.", answers.ConfirmedFileRow)}
    one = {200: Answer("The file.", answers.InferenceFileRow)}
    url = {200: Answer("A URL that works for a while.", answers.DownloadUrl)}
    announcing = (*_OF_ORDER, *_BODY, "JOB_ALREADY_ENDED", "MODEL_INACTIVE", "UNSUPPORTED_MEDIA", "MEDIA_TOO_LARGE", "NO_CREDITS")
    confirming = (*_OF_FILE, *_BODY, "UPLOAD_INCOMPLETE", "NO_CREDITS", "MEDIA_TOO_LONG")
    file, confirmed, uploads = Body(schemas.NewFile), Body(schemas.ConfirmedFile), RateKind.UPLOADS
    reading = (*_OF_FILE, "UPLOAD_INCOMPLETE")
    return [
        Operation(
            "POST",
            _FILES + "/upload-url",
            "announce_file",
            "Announce a file",
            inference.announce_file,
            form,
            announcing,
            file,
            rate=uploads,
        ),
        Operation(
            "POST", _FILES + "/confirm", "confirm_file", "Queue a posted file", inference.confirm_file, arrived, confirming, confirmed
        ),
        Operation("GET", _FILE, "get_file", "One file", inference.get_file, one, _OF_FILE),
        Operation("GET", _FILE + "/download-url", "download_file", "Where to read it from", inference.download_file, url, reading),
    ]
