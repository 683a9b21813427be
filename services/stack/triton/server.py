"""The command and environment of the wheel's tritonserver."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import services
from services.stack.certificates.folder import CertificatePaths
from services.stack.children import ChildSpec
from services.stack.triton import shared_memory
from services.stack.triton.failures import TritonUnavailable
from services.stack.triton.python import Python
from services.stack.triton.tracing import trace_options

HOST = "127.0.0.1"
MODELS = ("whisper", "vad", "speaker")
STOP_SECONDS = 4.0
_EXIT_SECONDS = 3
_REGION_BYTES = 4 * 1024 * 1024
_LONGEST_SOCKET_PATH = 107
_LEAST_PING_MS = 5_000
# They speak of another interpreter.
_DROPPED = frozenset({"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"})


def open_to_its_user(folder: Path) -> str:
    """The address of a socket in the folder: whoever reaches a Triton that loads models may have it run any code.

    Triton appends a port to every address; here it ends the file's name. Raises TritonUnavailable.
    """
    path = folder / "grpc:1"
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise TritonUnavailable(f"{path} is too long for a socket; choose a folder with a shorter path with --data")
    return f"unix:{path}"


@dataclass(frozen=True)
class TritonServer:
    """What to run. folder: its own, for links and no other user. address: of its gRPC, see `open_to_its_user`. variables: of the models.

    detectors: a second repository, whose models are written, loaded and unloaded while it runs. tls: for clients with certificates alone.
    """

    folder: Path
    python: Python
    repository: Path
    address: str
    metrics_port: int
    models: Sequence[str] = MODELS
    variables: Mapping[str, str] = field(default_factory=dict)
    detectors: Path | None = None
    tls: CertificatePaths | None = None

    @property
    def _distribution(self) -> Path:
        return self.python.packages_folder / "pytriton" / "tritonserver"

    @property
    def _backend(self) -> Path:
        """The stub ignores PYTHONPATH, and looks for modules here and in the folder that it runs in, which therefore is this too."""
        return self.folder / "backends" / "python"

    @property
    def _libraries(self) -> Path:
        return self.python.packages_folder / "nvidia_pytriton.libs"

    def prepare(self) -> None:
        """Put the links in the folder and remove what a killed server left. Raises TritonUnavailable."""
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o700)
        shutil.rmtree(self._backend.parent, ignore_errors=True)
        self._backend.mkdir(parents=True)
        for target in self._backend_files():
            if not target.is_file():
                raise TritonUnavailable(
                    f"{target} is missing: install nvidia-pytriton==0.7.0 in {self.python.executable.parent.parent} again"
                )
            (self._backend / target.name).symlink_to(target)
        # The services alone: beside them may lie packages that the models must not see.
        (self._backend / "services").symlink_to(Path(services.__file__).parent)
        shared_memory.tidy(self.folder)
        if self.detectors:
            self.detectors.mkdir(parents=True, exist_ok=True)

    def _backend_files(self) -> Iterable[Path]:
        yield self._distribution / "backends" / "python" / "libtriton_python.so"
        yield self._distribution / "backends" / "python" / "triton_python_backend_utils.py"
        yield self._distribution / "python_backend_stubs" / self.python.version / "triton_python_backend_stub"

    def child(self) -> ChildSpec:
        """The server as a child of the supervisor; `prepare` comes first."""
        tidy = partial(shared_memory.tidy, self.folder)
        return ChildSpec("triton", list(self._command()), self._environment(), STOP_SECONDS, tidy, self._backend)

    def _command(self) -> Iterable[str]:
        yield str(self._distribution / "bin" / "tritonserver")
        yield from (f"--model-repository={repository}" for repository in filter(None, (self.repository, self.detectors)))
        yield f"--backend-directory={self._backend.parent}"
        yield "--model-control-mode=explicit"
        yield from (f"--load-model={model}" for model in self.models)
        host, _, port = self.address.rpartition(":")
        yield from ("--allow-http=false", f"--grpc-address={host}", f"--grpc-port={port}")
        if self.tls:
            yield from ("--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true", f"--grpc-server-cert={self.tls.certificate}")
            yield from (f"--grpc-server-key={self.tls.key}", f"--grpc-root-cert={self.tls.authority}")
        yield from (f"--metrics-address={HOST}", f"--metrics-port={self.metrics_port}", "--allow-gpu-metrics=false")
        yield from ("--grpc-keepalive-permit-without-calls=1", f"--grpc-http2-min-recv-ping-interval-without-data={_LEAST_PING_MS}")
        yield f"--backend-config=python,shm-region-prefix-name={shared_memory.name_prefix(self.folder)}"
        yield f"--backend-config=python,shm-default-byte-size={_REGION_BYTES}"
        yield f"--backend-config=python,shm-growth-byte-size={_REGION_BYTES}"
        # Completion would start every model's process twice.
        yield "--disable-auto-complete-config"
        # A model that does not load at start ends the server with its reason; one that fails later leaves the others serving.
        yield from ("--exit-on-error=true", "--strict-readiness=false")
        yield from (f"--exit-timeout-secs={_EXIT_SECONDS}", "--log-format=ISO8601")
        yield from trace_options(os.environ)

    def _environment(self) -> Mapping[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        libraries = [str(self._libraries), self.python.library_folder, inherited.get("LD_LIBRARY_PATH", "")]
        return {
            # Each model is a process of its own, with its threads told to the runtime.
            "OMP_NUM_THREADS": "1",
            **inherited,
            # The stub takes the first python3 of PATH for its home.
            "PATH": f"{self.python.executable.parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
            **self.variables,
        }
