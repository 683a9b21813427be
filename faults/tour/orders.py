"""Deeds whose jobs are the first workspace's: they are in the history."""

from typing import TypeVar

from faults.tour.visitor import FOLLOW_SECONDS, Visitor, words
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CancelJobRequest, CreateJobRequest
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceAsyncStub

_THREE_HOURS = 3 * 3600
_DONE = 3
T = TypeVar("T")


class Orders(Visitor):
    """Submits of every kind, and second thoughts."""

    def failing(self) -> None:
        """A job in a language that no model knows."""
        job_id = self.client.submit(self.trial.sounds.speech, self.new_key(), language="fr").job_id
        self.client.follow(job_id, FOLLOW_SECONDS)

    def refused(self) -> None:
        """A file that is no media."""
        self.client.submit(words(self.trial), self.new_key(), "refused_submit")

    def cancelled(self) -> None:
        """A job whose owner thinks better of it."""
        self.client.delete(self.client.submit(self.trial.sounds.longer, self.new_key()).job_id)

    def cancelled_inside(self) -> None:
        """The same by another service's call."""
        job_id = self.client.submit(self.trial.sounds.longer, self.new_key()).job_id
        call = self.trial.recorder.asking(self.name, "delete", job_id=job_id)
        self.operate("jobs", lambda channel: JobsServiceAsyncStub(channel).CancelJob(CancelJobRequest(job_id=job_id)), "gateway")
        self.trial.recorder.lost(call, "asked inside of the mesh")

    def removed(self) -> None:
        """A job that is done, and then deleted."""
        self.client.delete(self.silence())

    def fetched(self) -> None:
        """Media at a URL."""
        job_id = self.client.submit_url(self.web.publish(self.trial.sounds.silence), self.new_key()).job_id
        self.client.follow(job_id, FOLLOW_SECONDS)

    def fetched_in_vain(self) -> None:
        """Words at a URL."""
        job_id = self.client.submit_url(self.web.publish(words(self.trial)), self.new_key()).job_id
        self.client.follow(job_id, FOLLOW_SECONDS)

    def uploaded(self) -> None:
        """A file that the client sends by itself."""
        job_id = self.client.submit_upload(self.trial.sounds.silence, self.new_key()).job_id
        self.client.follow(job_id, FOLLOW_SECONDS)

    def uploaded_in_vain(self) -> None:
        """Words that the client sends by itself."""
        job_id = self.client.submit_upload(words(self.trial), self.new_key()).job_id
        self.client.follow(job_id, FOLLOW_SECONDS)

    def never_uploaded(self) -> None:
        """An upload that is announced and does not come."""
        job_id = self.client.announce(self.trial.sounds.silence, self.new_key()).job_id
        self.client.follow(job_id, FOLLOW_SECONDS)

    def taken_media(self) -> None:
        """A second job of media that has one."""
        row = self.done_job()
        request = CreateJobRequest(media_id=row["media_id"], source=Job.SOURCE_UPLOAD, idempotency_key=self.new_key())
        call = self.trial.recorder.asking(self.name, "refused_submit", key=request.idempotency_key)
        self.trial.recorder.lost(call, "asked inside of the mesh")
        self.operate("jobs", lambda channel: JobsServiceAsyncStub(channel).CreateJob(request), "gateway")
