"""Operations on datasets, their audio and their labels."""

from collections.abc import Sequence

from services.gateway.contracts.relay import answers, schemas
from services.gateway.contracts.relay.annotation_sets import AnnotationSets
from services.gateway.contracts.relay.datasets import Datasets
from services.gateway.domain import Reason
from services.gateway.operation import Answer, Body, Operation, RateKind

_BODY = (Reason.BAD_REQUEST, Reason.BAD_FIELD)
_OF_DATASET = (Reason.BAD_ID, "DATASET_NOT_FOUND")
_OF_AUDIO = (*_OF_DATASET, "AUDIO_NOT_FOUND")
_OF_SET = (*_OF_DATASET, "ANNOTATION_SET_NOT_FOUND")
_OF_DRAFT = (*_OF_SET, "ANNOTATION_SET_PUBLISHED")
_OF_ANNOTATION = (*_OF_DRAFT, "ANNOTATION_NOT_FOUND")
_LABELLING = (*_BODY, "AUDIO_NOT_FOUND", "UNKNOWN_ARTIFACT_TYPE")
_DATASET = "/datasets/{dataset_id}"
_AUDIO = _DATASET + "/audio"
_FILE = _AUDIO + "/{audio_id}"
_SETS = _DATASET + "/annotation-sets"
_SET = _SETS + "/{annotation_set_id}"
_LABEL = _SET + "/annotations/{annotation_id}"
_GONE = {204: Answer("It is gone.")}


def dataset_operations(datasets: Datasets) -> Sequence[Operation]:
    """Collections of audio."""
    changed = (*_OF_DATASET, *_BODY, "ARTIFACT_TYPE_IN_USE")
    one, made = {200: Answer("The dataset.", answers.DatasetRow)}, {201: Answer("The dataset.", answers.DatasetRow)}
    page = {200: Answer("A page of datasets.", answers.DatasetPage)}
    fresh, changes, query = Body(schemas.NewDataset), Body(schemas.DatasetChanges), schemas.PageFields
    return [
        Operation("GET", "/datasets", "list_datasets", "Datasets, newest first", datasets.list_page, page, query=query),
        Operation("POST", "/datasets", "create_dataset", "Make a dataset", datasets.create, made, _BODY, fresh),
        Operation("GET", _DATASET, "get_dataset", "One dataset", datasets.get, one, _OF_DATASET),
        Operation("PATCH", _DATASET, "update_dataset", "Change a dataset", datasets.update, one, changed, changes),
        Operation("DELETE", _DATASET, "delete_dataset", "Delete a dataset with its audio and labels", datasets.delete, _GONE, _OF_DATASET),
    ]


def audio_operations(datasets: Datasets) -> Sequence[Operation]:
    """The audio of a dataset."""
    page = {200: Answer("A page of audio files.", answers.AudioPage)}
    one = {200: Answer("The audio file.", answers.AudioRow)}
    url = {200: Answer("A URL that works for a while.", answers.DownloadUrl)}
    used, query = (*_OF_AUDIO, "AUDIO_IN_USE"), schemas.PageFields
    return [
        *_arrivals(datasets),
        Operation("GET", _AUDIO, "list_audio", "Audio of a dataset, newest first", datasets.list_audio, page, _OF_DATASET, query=query),
        Operation("GET", _FILE, "get_audio", "One audio file", datasets.get_audio, one, _OF_AUDIO),
        Operation("DELETE", _FILE, "delete_audio", "Delete an audio file", datasets.delete_audio, _GONE, used),
        Operation(
            "GET",
            _FILE + "/download-url",
            "download_audio",
            "Where to read it from",
            datasets.download_audio,
            url,
            (*_OF_AUDIO, "UPLOAD_INCOMPLETE"),
        ),
    ]


def _arrivals(datasets: Datasets) -> Sequence[Operation]:
    """Ways for audio into a dataset."""
    form = {200: Answer("How its bytes are posted.", answers.AnnouncedAudio)}
    arrived = {200: Answer("What became of it.", answers.ConfirmedAudioRow)}
    copied = {201: Answer("The copy, in preparation.", answers.AudioRow)}
    announcing = (*_OF_DATASET, *_BODY, "UNSUPPORTED_MEDIA", "MEDIA_TOO_LARGE")
    confirming = (*_OF_AUDIO, *_BODY, "UPLOAD_INCOMPLETE")
    ended = (Reason.NOT_READY, Reason.JOB_FAILED, Reason.JOB_CANCELLED, Reason.AUDIO_MISSING)
    importing = (*_OF_DATASET, *_BODY, "JOB_NOT_FOUND", *ended)
    file, audio, job = Body(schemas.NewFile), Body(schemas.ConfirmedAudio), Body(schemas.SourceJob)
    uploads = RateKind.UPLOADS
    return [
        Operation(
            "POST",
            _AUDIO + "/upload-url",
            "announce_audio",
            "Announce a file",
            datasets.announce_audio,
            form,
            announcing,
            file,
            rate=uploads,
        ),
        Operation(
            "POST",
            _AUDIO + "/confirm",
            "confirm_audio",
            "Say that its bytes were posted",
            datasets.confirm_audio,
            arrived,
            confirming,
            audio,
        ),
        Operation(
            "POST",
            _AUDIO + "/from-job",
            "add_transcription",
            "Add the audio of a finished transcription",
            datasets.add_transcription,
            copied,
            importing,
            job,
            rate=uploads,
        ),
    ]


def set_operations(sets: AnnotationSets) -> Sequence[Operation]:
    """Versions of a dataset's labels."""
    made = {201: Answer("An empty draft.", answers.AnnotationSetRow)}
    every = {200: Answer("Every version, the newest first.", answers.AnnotationSetList)}
    one = {200: Answer("The version with its labels.", answers.AnnotationSetDetail)}
    frozen = {200: Answer("The version, frozen.", answers.AnnotationSetRow)}
    publishing = (*_OF_DRAFT, "ANNOTATION_SET_EMPTY")
    return [
        Operation("POST", _SETS, "create_annotation_set", "Begin the next version of the labels", sets.create, made, _OF_DATASET),
        Operation("GET", _SETS, "list_annotation_sets", "Versions of the labels", sets.list_sets, every, _OF_DATASET),
        Operation("GET", _SET, "get_annotation_set", "One version with its labels", sets.get, one, _OF_SET),
        Operation("POST", _SET + "/publish", "publish_annotation_set", "Freeze a draft for ever", sets.publish, frozen, publishing),
        Operation("DELETE", _SET, "delete_annotation_set", "Delete a draft", sets.delete, _GONE, _OF_DRAFT),
    ]


def annotation_operations(sets: AnnotationSets) -> Sequence[Operation]:
    """The labels of a draft."""
    labels = _SET + "/annotations"
    refusals, changed = (*_OF_DRAFT, *_LABELLING), (*_OF_ANNOTATION, *_LABELLING)
    made, one = {201: Answer("The label.", answers.AnnotationRow)}, {200: Answer("The label.", answers.AnnotationRow)}
    many = {201: Answer("All of the labels.", answers.CreatedAnnotations)}
    single, bulk, changes = Body(schemas.NewAnnotation), Body(schemas.NewAnnotations), Body(schemas.AnnotationChanges)
    return [
        Operation("POST", labels, "create_annotation", "Label a stretch of audio", sets.annotate, made, refusals, single),
        Operation("POST", labels + "/bulk", "create_annotations", "Label many", sets.annotate_many, many, refusals, bulk),
        Operation("PATCH", _LABEL, "update_annotation", "Change a label", sets.update_annotation, one, changed, changes),
        Operation("DELETE", _LABEL, "delete_annotation", "Delete a label", sets.delete_annotation, _GONE, _OF_ANNOTATION),
    ]
