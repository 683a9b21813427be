"""What a mesh is used for while somebody listens: every good thing it does, every way of refusing, and deaths in between."""

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import httpx2

from faults.doors.canaries import Canaries, word
from faults.doors.declared import doors, without_ids
from faults.doors.sinks import Overheard
from faults.doors.tenants import API, SILENCE, Actor, TwoTenants, Workspace
from services.gateway.contract import Contract
from services.mesh.ids import new_id
from steno.jobs.v1.jobs_service_pb2 import ClaimJobsRequest, CreateJobRequest, GetJobRequest
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceStub
from tests.billing.stripe_player import paid_event, sign
from tests.e2e.mesh import SAMPLES, wait_for

HELLO = SAMPLES / "clips" / "hello.flac"
_FORMATS = ("json", "txt", "srt", "vtt", "docx")
_KILLED = ("storage", "inference", "billing", "jobs", "gateway")
_SUBMITS: Mapping[str, Mapping[str, str]] = {
    "/icana/api/v1/transcribe": {},
    "/api/transcriptions": {},
    "/v1/audio/transcriptions": {"model": "whisper-1"},
}
_SECONDS = 240


@dataclass(frozen=True)
class Usage:
    """Uses the mesh and plants what it uses."""

    tenants: TwoTenants
    canaries: Canaries
    overheard: Overheard

    @property
    def mine(self) -> Workspace:
        """The first workspace, in which everything happens."""
        return self.tenants.first

    def plant_credentials(self) -> None:
        """What both workspaces and their people identify themselves with."""
        for workspace in (self.tenants.first, self.tenants.second):
            for key in (workspace.owner_key, workspace.app_key, workspace.read_key, workspace.server_key):
                self.canaries.plant("API key", key)
        for part in self.tenants.opened.token().split(".")[1:]:
            self.canaries.plant("JWT", part)

    def work(self) -> None:
        """Transcribe, read, play, pay, manage."""
        for actor in (self.mine.owner(), self.mine.user(word("person") + "@example.com"), self.mine.guest()):
            self._plant_actor(actor)
            self._transcribe(actor)
            self._upload(actor)
            self._buy(actor)
        self._other_contracts()

    def be_refused(self, contracts: Sequence[Contract]) -> None:
        """Every declared operation with a request that is wrong somewhere, and secrets in all its corners."""
        for door in doors(contracts):
            for headers in self._wrong_identities():
                path, content = door.request(new_id())
                params = {**content.pop("params", {}), "q": self._word("query")}
                self._send(door.operation.method, path, headers=headers, params=params, **content)
        operations = [(f"{contract.prefixes[0]}{item.path}", item) for contract in contracts for item in contract.operations]
        for path, item in operations:
            if "{" not in path and item.method == "POST":
                self._post_nonsense(path)
        for prefix, operation in without_ids(contracts):
            self._send("GET", prefix + operation.path, params={"page": self._word("page"), "limit": self._word("limit")})
        self._bad_media()
        self._bad_urls()
        self._refused_by_grpc()
        self._refused_payments()

    def die(self) -> None:
        """Kill each service while it has work, and go on when it is back."""
        for service in _KILLED:
            with HELLO.open("rb") as file:
                submitted = self._send("POST", f"{API}/transcribe", headers=self.mine.owner().headers, files={"file": (self._name(), file)})
            self.tenants.opened.mesh.kill(service, signal.SIGKILL)
            self._send("GET", f"{API}/jobs", headers=self.mine.owner().headers, patient=True)
            wait_for(self.tenants.opened.mesh.is_ready, _SECONDS, f"the mesh to be ready after {service} died")
            if submitted is not None and submitted.is_success:
                self._ended(self.mine.owner(), submitted.json())

    def _transcribe(self, actor: Actor) -> None:
        """A sample under a name and a prompt of its own, read in every format."""
        prompt = self._word("prompt", credential=False)
        with HELLO.open("rb") as file:
            files = {"file": (self._name(), file)}
            told = self.mine.ask(actor, "POST", f"{API}/transcribe", files=files, data={"prompt": prompt}).raise_for_status().json()
        reader = self._ended(actor, told)
        for wanted in _FORMATS:
            self.mine.ask(reader, "GET", f"{API}/jobs/{told['job_id']}/result", params={"format": wanted}).raise_for_status()
        text = self.mine.ask(reader, "GET", f"{API}/jobs/{told['job_id']}/result", params={"format": "json"}).json()["text"]
        self.canaries.plant("transcript text", text[: len(text) // 2], credential=False)
        audio = self.mine.ask(reader, "GET", f"{API}/jobs/{told['job_id']}/audio/url").raise_for_status().json()
        self._plant_signature(audio["url"])
        if audio["url"].startswith("/"):
            self.mine.client.get(audio["url"] if audio["url"].startswith("/api") else f"/api{audio['url']}")

    def _upload(self, actor: Actor) -> None:
        job = self.mine.announced_job(actor)
        self._plant_signature(f"?{job.query}")
        self._plant_claim(job.claim_token)
        self._send("PUT", f"{API}/uploads/{job.media_id}?{job.query}x", content=SILENCE.read_bytes())
        self.mine.client.put(f"{API}/uploads/{job.media_id}?{job.query}", content=SILENCE.read_bytes()).raise_for_status()
        proving = {**actor.headers, "X-Claim-Token": job.claim_token} if job.claim_token else actor.headers
        self._send("POST", f"{API}/uploads/{job.id}/complete", headers=proving)
        self._send("DELETE", f"{API}/jobs/{job.id}", headers=proving)

    def _buy(self, actor: Actor) -> None:
        checkout, wallet = self.mine.checkout(actor)
        if wallet:
            self.canaries.plant("guest token", wallet)
            self._send("GET", f"{API}/me", headers={**actor.headers, "X-Guest-Token": wallet})
        event = paid_event(self.tenants.stripe.session_of(checkout))
        self._send("POST", f"{API}/payments/stripe/events", content=event, headers={"Stripe-Signature": sign(event)})

    def _other_contracts(self) -> None:
        owner = self.mine.owner()
        for path, fields in _SUBMITS.items():
            with HELLO.open("rb") as file:
                form = {**fields, "prompt": self._word("prompt", credential=False)}
                self._send("POST", path, headers=owner.headers, files={"file": (self._name(), file)}, data=form)
        made = self.mine.ask(owner, "POST", f"{API}/auth/api-keys", json={"name": "short-lived"}).json()
        self.canaries.plant("API key", made["key"])
        self.mine.ask(owner, "DELETE", f"{API}/auth/api-keys/{made['id']}").raise_for_status()
        self._send("GET", f"{API}/me", headers={"X-API-Key": made["key"]})

    def _ended(self, actor: Actor, told: Mapping[str, Any]) -> Actor:
        """Whoever can read the job, once it has ended."""
        claim = told.get("claim_token", "")
        self._plant_claim(claim)
        reader = Actor(actor.name, {**actor.headers, **({"X-Claim-Token": claim} if claim else {})})

        def ended() -> bool:
            answer = self.mine.ask(reader, "GET", f"{API}/jobs/{told['job_id']}")
            self.overheard.refused(answer)
            return answer.is_success and answer.json()["status"] in ("done", "failed")

        wait_for(ended, _SECONDS, "a job to end", every=0.3)
        return reader

    def _wrong_identities(self) -> Iterator[Mapping[str, str]]:
        owner, guest = self.mine.owner().headers, self.mine.guest().headers
        yield {"X-API-Key": self._word("sk_live_wrong")}
        yield {**guest, "Authorization": f"Bearer {self._word('bearer')}.{self._word('claims')}.{self._word('signature')}"}
        yield {**guest, "X-Guest-Token": self._word("gt_wrong")}
        yield {**guest, "X-Claim-Token": self._word("claim")}
        yield {**owner, "X-User-Email": self._word("named") + "@example.com"}

    def _post_nonsense(self, path: str) -> None:
        headers = {**self.mine.owner().headers, "Idempotency-Key": self._word("key with blanks ")}
        self._send("POST", path, headers=headers, json={self._word("field"): self._word("value")})
        self._send("POST", path, headers=headers, content=b'{"x": "' + self._word("json").encode())
        self._send("POST", path, headers=headers, files={self._word("part"): (self._name(), self._word("content").encode())})

    def _bad_media(self) -> None:
        """Files that are none, and one that breaks off; their bytes are secrets like any other."""
        whole = HELLO.read_bytes()
        broken = whole[: len(whole) // 3] + self._word("audio bytes").encode() * 40
        for content in (self._word("no audio").encode() * 100, broken, b"RIFF" + self._word("riff").encode() * 64):
            told = self._send("POST", f"{API}/transcribe", headers=self.mine.owner().headers, files={"file": (self._name(), content)})
            if told is not None and told.is_success:
                self._ended(self.mine.owner(), told.json())

    def _bad_urls(self) -> None:
        token, web = self._word("url-token", credential=False), self.tenants.opened.web
        addresses = (f"https://user:{token}@media.example/a", f"http://127.0.0.1/{token}", f"{web.url}/{token}?sig={token}")
        for url in (*addresses, web.redirect(f"http://127.0.0.1:1/{token}"), f"http://no-such-host.invalid/{token}"):
            told = self._send("POST", f"{API}/transcribe/url", headers=self.mine.owner().headers, json={"url": url})
            if told is not None and told.is_success:
                self._ended(self.mine.owner(), told.json())

    def _refused_by_grpc(self) -> None:
        with grpc.insecure_channel(self.tenants.opened.mesh.ready["grpc"]["jobs"]) as channel:
            jobs = JobsServiceStub(channel)
            for key in (self.mine.owner_key, self.mine.app_key, self._word("sk_live_wrong")):
                calls = (
                    partial(jobs.GetJob, GetJobRequest(job_id=new_id())),
                    partial(jobs.CreateJob, CreateJobRequest(url=f"http://media.invalid/{self._word('url-path', credential=False)}")),
                    partial(jobs.ClaimJobs, ClaimJobsRequest(claim_tokens=[self._word("claim")])),
                )
                for call in calls:
                    try:
                        call(metadata=(("x-api-key", key),), timeout=60)
                    except grpc.RpcError as error:
                        trailing: Any = error
                        self.overheard.refusals.append(repr((trailing.details(), trailing.trailing_metadata())).encode())

    def _refused_payments(self) -> None:
        event = json.dumps({"id": self._word("event")}).encode()
        for signature in (self._word("t=1,v1="), sign(event)):
            self._send("POST", f"{API}/payments/stripe/events", content=event, headers={"Stripe-Signature": signature})
        self.tenants.stripe.status = 500
        order = {"pack": "hours-10", "success_url": "https://shop.example/paid", "cancel_url": "https://shop.example/left"}
        self._send("POST", f"{API}/credits/checkout", headers=self.mine.owner().headers, json=order)
        self.tenants.stripe.status = 200

    def _send(self, method: str, path: str, *, patient: bool = False, **content: Any) -> httpx2.Response | None:
        """One request whose refusal is kept; a dead connection is none."""
        try:
            answer = self.mine.client.request(method, path, **content)
        except httpx2.TransportError:
            return None
        self.overheard.refused(answer)
        return answer

    def _plant_actor(self, actor: Actor) -> None:
        token = actor.headers.get("Authorization", "").removeprefix("Bearer ")
        for part in token.split(".")[1:]:
            self.canaries.plant("JWT", part)

    def _plant_claim(self, claim_token: str) -> None:
        if claim_token:
            self.canaries.plant("claim token", claim_token)

    def _plant_signature(self, url: str) -> None:
        for part in url.partition("?")[2].split("&"):
            name, _, value = part.partition("=")
            if "signature" in name.lower():
                self.canaries.plant("signature of a URL", value)

    def _name(self) -> str:
        name = word("interview")
        self.canaries.plant("file name", name, credential=False)
        return f"{name}.flac"

    def _word(self, purpose: str, *, credential: bool = True) -> str:
        """Something that a client sends and that must not be repeated anywhere."""
        made = word(purpose)
        self.canaries.plant(purpose, made, credential=credential)
        return made
