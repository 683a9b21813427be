"""How much a sandboxed child may use."""

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one child. The kernel enforces them; passing one ends the child."""

    # Resident memory cannot exceed it: 512 MB are promised. Ten hours of MP4 with pictures take 210 MiB.
    address_space_bytes: int = 480 * MEBIBYTE
    cpu_seconds: int = 60
    file_size_bytes: int = 0
    open_files: int = 32
    # False only where neither seccomp nor a network namespace exists, such as a developer's macOS.
    require_isolation: bool = True


def decode_cpu_seconds(max_duration_ms: int) -> int:
    """CPU allowance for audio of at most this length: a fifth of real time plus a minute."""
    return 60 + max_duration_ms // 5000
