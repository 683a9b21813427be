"""A small server that plays the detection resources: it keeps what it is sent, and works at once."""

import asyncio
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.cli.answers import error

Row = dict[str, Any]
DURATION_MS = 10_000
SCORES = {"precision": 0.9, "recall": 0.8, "f1_score": 0.847}
FOUND = [
    {"artifact_type": "click", "start_ms": 1250, "end_ms": 1300, "confidence": 0.91},
    {"artifact_type": "hum", "start_ms": 4000, "end_ms": 6500, "confidence": 0.77},
]


@dataclass
class Detection:
    """What it keeps. fail: names of files that turn out to be no audio; refuse: requests that are answered with an error, once each."""

    url: str = ""
    datasets: dict[str, Row] = field(default_factory=dict)
    audio: dict[str, Row] = field(default_factory=dict)
    sets: dict[str, Row] = field(default_factory=dict)
    trainings: dict[str, list[Row]] = field(default_factory=dict)
    models: dict[str, Row] = field(default_factory=dict)
    orders: dict[str, Row] = field(default_factory=dict)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    forms: list[Row] = field(default_factory=list)
    bodies: list[tuple[str, Any]] = field(default_factory=list)
    fail: set[str] = field(default_factory=set)
    refuse: dict[tuple[str, str], Response] = field(default_factory=dict)
    training_end: Row = field(default_factory=dict)
    page_size: int = 2
    ids: Iterator[int] = field(default_factory=itertools.count)

    def new_id(self) -> str:
        """An id of the API's form."""
        return f"01890000-0000-7000-8000-{next(self.ids):012d}"

    def sent(self, ending: str) -> list[Any]:
        """Bodies of the POSTs and PATCHes whose paths end so."""
        return [body for path, body in self.bodies if path.endswith(ending)]

    async def answer(self, request: Request) -> Response:
        """Whatever is asked for below /api/v1."""
        path = request.url.path.removeprefix("/api/v1")
        refusal = self.refuse.pop((request.method, path), None)
        if refusal is not None:
            return refusal
        if path.startswith("/uploads/form/"):
            return await self._receive(request, path.rpartition("/")[2])
        body = await request.json() if request.method in ("POST", "PATCH") else None
        if body is not None:
            self.bodies.append((path, body))
        return self._route(request, path.strip("/").split("/"), body)

    async def _receive(self, request: Request, file_id: str) -> Response:
        assert "x-api-key" not in request.headers, "an upload form is permission enough"
        async with request.form() as form:
            upload: Any = form["file"]
            assert list(form)[-1] == "file"
            self.forms.append({name: value for name, value in form.items() if name != "file"})
            self.uploaded[file_id] = await upload.read()
        return Response(status_code=204)

    def _route(self, request: Request, parts: list[str], body: Any) -> Response:
        routes: dict[str, Callable[[Request, list[str], Any], Response]] = {
            "datasets": self._dataset,
            "training-jobs": self._training,
            "models": self._model,
            "inference-jobs": self._inference,
        }
        return routes[parts[0]](request, parts[1:], body)

    def _dataset(self, request: Request, parts: list[str], body: Any) -> Response:
        if not parts:
            if request.method == "GET":
                return self._page(request, list(self.datasets.values()))
            made = {"id": self.new_id(), "description": None, "created_at": "2026-11-22T08:00:00Z", **body}
            self.datasets[made["id"]] = made
            return JSONResponse(made, 201)
        dataset = self.datasets.get(parts[0])
        if dataset is None:
            return error(404, "NOT_FOUND", "There is nothing here.")
        if len(parts) == 1:
            if request.method == "DELETE":
                del self.datasets[parts[0]]
                return Response(status_code=204)
            dataset.update(body or {})
            return JSONResponse(dataset)
        return {"audio": self._audio, "annotation-sets": self._sets}[parts[1]](request, parts[2:], body, parts[0])

    def _audio(self, request: Request, parts: list[str], body: Any, dataset_id: str) -> Response:
        if not parts:
            return self._page(request, [row for row in self.audio.values() if row["dataset_id"] == dataset_id])
        if request.method == "DELETE":
            del self.audio[parts[0]]
            return Response(status_code=204)
        if parts[0] == "upload-url":
            return self._announce(self.audio, body, "audio_id", {"dataset_id": dataset_id, "processing_status": "pending"})
        if parts[0] == "from-job":
            return JSONResponse({"id": "copied", "processing_status": "normalizing"}, 201)
        return self._confirm_audio(body["audio_id"])

    def _announce(self, rows: dict[str, Row], body: Row, name: str, more: Row) -> Response:
        file_id: str = self.new_id()
        rows[file_id] = {"id": file_id, "original_filename": body["filename"], "file_size": body["file_size"], "duration_ms": None, **more}
        fields = {"key": f"k/{file_id}", "policy": "signed"}
        return JSONResponse({"upload_url": f"/api/v1/uploads/form/{file_id}", "fields": fields, name: file_id, "expires_in": 3600})

    def _confirm_audio(self, audio_id: str) -> Response:
        row = self.audio[audio_id]
        if len(self.uploaded.get(audio_id, b"")) != row["file_size"]:
            return error(400, "UPLOAD_INCOMPLETE", "The bytes are not there.")
        failed = row["original_filename"] in self.fail
        row["processing_status"] = "failed" if failed else "ready"
        row.update({"error_message": "This is not audio."} if failed else {"duration_ms": DURATION_MS})
        return JSONResponse({"audio_id": audio_id, "status": row["processing_status"], "message": ""})

    def _sets(self, request: Request, parts: list[str], body: Any, dataset_id: str) -> Response:
        of_dataset = [row for row in self.sets.values() if row["dataset_id"] == dataset_id]
        if not parts and request.method == "GET":
            return JSONResponse({"items": of_dataset[::-1], "total": len(of_dataset)})
        if not parts:
            made: Row = {
                "id": self.new_id(),
                "dataset_id": dataset_id,
                "version": len(of_dataset) + 1,
                "status": "draft",
                "annotations": [],
            }
            self.sets[made["id"]] = made
            return JSONResponse(self._counted(made), 201)
        found = self.sets[parts[0]]
        if parts[1:] == ["annotations", "bulk"]:
            assert found["status"] == "draft"
            found["annotations"] += body["annotations"]
            return JSONResponse({"created": len(body["annotations"]), "annotations": body["annotations"]}, 201)
        if parts[1:] == ["publish"]:
            found["status"] = "published"
        return JSONResponse(self._counted(found))

    def _counted(self, row: Row) -> Row:
        types = [one["artifact_type"] for one in row["annotations"]]
        covered = sum(one["end_ms"] - one["start_ms"] for one in row["annotations"])
        counts = {"total_annotations": len(types), "total_positive_duration_ms": covered}
        row.update(counts, annotations_by_type={name: types.count(name) for name in types}, created_at="2026-11-22T08:00:00Z")
        return row

    def _training(self, request: Request, parts: list[str], body: Any) -> Response:
        if request.method == "POST" and not parts:
            return JSONResponse(self._train(body), 201)
        if parts[1:] == ["cancel"]:
            return JSONResponse({"id": parts[0], "status": "cancelled"})
        states = self.trainings[parts[0]]
        return JSONResponse(states.pop(0) if len(states) > 1 else states[0])

    def _train(self, order: Row) -> Row:
        training_id, model_id = self.new_id(), self.new_id()
        config = {"epochs": 20, **order["config"]}
        metrics = [
            {"epoch": epoch, "training_loss": 1 / epoch, "validation_loss": 2 / epoch, "validation_f1_score": epoch / 4}
            for epoch in (1, 2, 3)
        ]
        first = {"id": training_id, "config": config, "status": "running", "progress": 0.2, "metrics": metrics[:1], "model_id": None}
        last = {**first, "status": "completed", "progress": 1.0, "metrics": metrics, "model_id": model_id, **self.training_end}
        self.trainings[training_id] = [first, last]
        self.add_model(model_id, config["artifact_types"])
        return {**first, "status": "pending"}

    def add_model(self, model_id: str, types: list[str], name: str = "artefacts") -> None:
        """A trained model."""
        per_class = {one: {**SCORES, "support": 7} for one in types}
        scores = {**SCORES, "per_class": per_class}
        row = {"id": model_id, "name": name, "artifact_types": types, "eval_metrics": scores, "is_active": True, "created_at": None}
        self.models[model_id] = row

    def _model(self, request: Request, parts: list[str], body: Any) -> Response:
        if not parts:
            return self._page(request, list(self.models.values()))
        found = self.models.get(parts[0])
        return JSONResponse(found) if found else error(404, "NOT_FOUND", "There is nothing here.")

    def _inference(self, request: Request, parts: list[str], body: Any) -> Response:
        if not parts:
            order = {"id": self.new_id(), "status": "pending", "files": {}, **body}
            self.orders[order["id"]] = order
            return JSONResponse({**order, "files": []}, 201)
        order = self.orders[parts[0]]
        if parts[1:] == ["files", "upload-url"]:
            return self._announce(order["files"], body, "file_id", {"status": "pending", "detections": [], "detection_count": 0})
        if parts[1:] == ["files", "confirm"]:
            return self._search(order["files"][body["file_id"]])
        return JSONResponse({**order, "files": list(order["files"].values())})

    def _search(self, row: Row) -> Response:
        if row["original_filename"] in self.fail:
            row.update(status="failed", error_message="This is not audio.")
        else:
            row.update(status="completed", detections=FOUND, detection_count=len(FOUND), duration_ms=DURATION_MS)
        return JSONResponse({"file_id": row["id"], "status": "queued", "message": ""})

    def _page(self, request: Request, rows: list[Row]) -> Response:
        """Smaller pages than were asked for, as the last one of a long list is."""
        page = int(request.query_params["page"])
        start = (page - 1) * self.page_size
        more = start + self.page_size < len(rows)
        answer = {"items": rows[start : start + self.page_size], "total": len(rows), "page": page, "has_more": more}
        return JSONResponse({**answer, "page_size": self.page_size})


@contextmanager
def running_detection() -> Iterator[Detection]:
    """The server, listening."""
    detection = Detection()
    route = Route("/api/v1/{path:path}", detection.answer, methods=["GET", "POST", "PATCH", "DELETE"])
    config = uvicorn.Config(Starlette(routes=[route]), log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        detection.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        program = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(program.serve([listener])), name="detection")
        thread.start()
        try:
            yield detection
        finally:
            program.should_exit = True
            thread.join(10)
