"""A seccomp filter that leaves a process memory, the clock and the descriptors it already has.

Everything not listed is refused with EPERM: open, socket, execve, clone, ptrace, kill, ioctl and the rest.
`sched_getaffinity` is left out on purpose: without it libav counts one CPU and starts no threads.
Layout of `seccomp_data` and of the instructions: Linux Documentation/userspace-api/seccomp_filter.rst.
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass

LOAD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
KILL_PROCESS = 0x80000000
NUMBER_OFFSET, ARCHITECTURE_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16
PROT_EXEC, MAP_ANONYMOUS = 0x4, 0x20
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Audit number of an ABI and its system call numbers."""

    audit: int
    plain: tuple[int, ...]
    write: int
    pwrite: int
    mmap: int
    mprotect: int


# In the order: read close fstat lseek munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64
# sched_yield mremap madvise dup nanosleep getpid exit gettimeofday getrusage sigaltstack
# gettid futex restart_syscall clock_gettime clock_getres clock_nanosleep exit_group getrandom
ARCHITECTURES = {
    "x86_64": Architecture(
        audit=0xC000003E,
        plain=(
            *(0, 3, 5, 8, 11, 12, 13, 14, 15, 17),
            *(24, 25, 28, 32, 35, 39, 60, 96, 98, 131),
            *(186, 202, 219, 228, 229, 230, 231, 318),
        ),
        write=1,
        pwrite=18,
        mmap=9,
        mprotect=10,
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        plain=(
            *(63, 57, 80, 62, 215, 214, 134, 135, 139, 67),
            *(124, 216, 233, 23, 101, 172, 93, 169, 165, 132),
            *(178, 98, 128, 113, 114, 115, 94, 278),
        ),
        write=64,
        pwrite=68,
        mmap=222,
        mprotect=226,
    ),
}


class FilterProgram(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install(writable: Iterable[int]) -> bool:
    """Confine this process for good; only the `writable` descriptors may be written. Needs no_new_privs.

    Returns False where the kernel or the architecture has no such filter.
    """
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        return False
    program = build_program(architecture, tuple(writable))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = FilterProgram(len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_program), 0, 0) == 0)


def build_program(architecture: Architecture, writable: tuple[int, ...]) -> list[Instruction]:
    """The whole filter: right ABI, then each permitted call, then refusal."""
    program = [
        (LOAD, 0, 0, ARCHITECTURE_OFFSET),
        (JUMP_IF_EQUAL, 1, 0, architecture.audit),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER_OFFSET),
    ]
    for number in architecture.plain:
        program += when(number, [(RETURN, 0, 0, ALLOW)])
    for number in (architecture.write, architecture.pwrite):
        program += when(number, check_descriptor(writable))
    program += when(architecture.mmap, check_mapping())
    program += when(architecture.mprotect, [*refuse_executable(), (RETURN, 0, 0, ALLOW)])
    return [*program, (RETURN, 0, 0, REFUSE)]


def when(number: int, body: list[Instruction]) -> list[Instruction]:
    """`body` if the system call has this number."""
    return [(JUMP_IF_EQUAL, 0, len(body), number), *body]


def check_descriptor(writable: tuple[int, ...]) -> list[Instruction]:
    """Allow if the first argument is one of the descriptors."""
    body: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS_OFFSET)]
    for descriptor in writable:
        body += when(descriptor, [(RETURN, 0, 0, ALLOW)])
    return [*body, (RETURN, 0, 0, REFUSE)]


def check_mapping() -> list[Instruction]:
    """Allow anonymous memory only: a shared mapping of an input opened read-write would be a way to write it."""
    return [
        *refuse_executable(),
        (LOAD, 0, 0, ARGUMENTS_OFFSET + 3 * 8),
        (JUMP_IF_SET, 0, 1, MAP_ANONYMOUS),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]


def refuse_executable() -> list[Instruction]:
    """Refuse if the third argument asks for executable memory."""
    return [(LOAD, 0, 0, ARGUMENTS_OFFSET + 2 * 8), (JUMP_IF_SET, 0, 1, PROT_EXEC), (RETURN, 0, 0, REFUSE)]
