"""`steno`: the one command line of Steno. Commands import what they need when they run, so that `--help` is quick."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from services.backups_cli import back_up, restore, verify_backup
from services.client.failures import CommandFailed
from services.datasets_cli.commands import COMMANDS as DATASETS
from services.models_cli.commands import COMMANDS as MODELS


class Format(StrEnum):
    """Forms that a transcript is delivered in."""

    TXT = "txt"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    DOCX = "docx"


class Kind(StrEnum):
    """Whom an API key identifies."""

    WORKSPACE = "workspace"
    APP = "app"


class Scope(StrEnum):
    """What an API key may be limited to."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    ACT_AS_USER = "act_as_user"


class Engine(StrEnum):
    """Where the models run."""

    LOCAL = "local"
    TRITON = "triton"


class Service(StrEnum):
    """Services with a database."""

    BILLING = "billing"
    STORAGE = "storage"
    JOBS = "jobs"


class Part(StrEnum):
    """Services of the mesh."""

    GATEWAY = "gateway"
    JOBS = "jobs"
    BILLING = "billing"
    STORAGE = "storage"
    INFERENCE = "inference"


DataOption = Annotated[Path, typer.Option("--data", help="Folder for everything that is kept.", file_okay=False)]
FormatOption = Annotated[Format, typer.Option("--format", help="Form of the transcript.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of standard output.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
BillingOption = Annotated[
    str, typer.Option(help="HOST:PORT of billing; left out, STENO_OPERATOR_BILLING_ADDRESS or that of the `steno up` that runs on --data.")
]
IdentityOption = Annotated[
    Path | None, typer.Option(help="The mesh's identity key; left out, STENO_OPERATOR_IDENTITY_KEY_FILE or that in --data.", dir_okay=False)
]
CertificatesOption = Annotated[
    Path | None, typer.Option(help="Folder of `steno certs dev`; left out, that of the `steno up --tls` on --data.", file_okay=False)
]
RestartOption = Annotated[
    float | None,
    typer.Option(
        min=0.05, envvar="STENO_UP_RESTART_SECONDS", help="Longest wait before a part that keeps ending is started again; 5 when left out."
    ),
]
JobArgument = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]


def up(
    data: DataOption = Path(".steno"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = 8080,
    ready_file: Annotated[Path | None, typer.Option(help="File to write URL, key and process id to, as JSON, once ready.")] = None,
    engine: Annotated[Engine, typer.Option(help="Where the models run.")] = Engine.LOCAL,
    model: Annotated[str, typer.Option(help="Speech model to run, of those that `steno models list` shows.")] = "",
    verbose: Annotated[bool, typer.Option(help="Show what the services log.")] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt what the parts say to each other, with certificates of its own.")] = False,
    restart_seconds: RestartOption = None,
) -> None:
    """Run Steno on this machine until Ctrl-C."""
    from services.stack.command import run_up

    ready = ready_file and ready_file.absolute()
    raise typer.Exit(run_up(data.absolute(), port, ready, engine.value, model, verbose, tls=tls, restart_seconds=restart_seconds))


def transcribe(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Audio or video file; - reads standard input.")],
    transcript_format: FormatOption = Format.TXT,
    output: OutputOption = None,
    language: Annotated[str, typer.Option(help="Language code such as en; found out when left out.")] = "",
    diarize: Annotated[bool, typer.Option(help="Tell the speakers apart.")] = True,
    word_timestamps: Annotated[bool, typer.Option(help="Time every word.")] = True,
    speakers: Annotated[int, typer.Option(min=0, max=20, help="How many people speak; 0 finds out.")] = 0,
    idempotency_key: Annotated[str, typer.Option(help="The same key never makes a second job.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and do not wait.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where the transcript would have a gap.")] = False,
) -> None:
    """Transcribe a recording."""
    from services.client.transcription import Order
    from services.client.transcription import transcribe as carry_out

    carry_out(Order(file, transcript_format.value, output, language, diarize, word_timestamps, speakers, idempotency_key, detach, strict))


def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the newest jobs."""
    from services.client import jobs

    jobs.list_jobs(limit, as_json)


def show_job(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Show one job."""
    from services.client import jobs

    jobs.show_job(job_id, as_json)


def save_result(job_id: JobArgument, transcript_format: FormatOption = Format.TXT, output: OutputOption = None) -> None:
    """Print or save the transcript of a job."""
    from services.client import jobs

    jobs.save_result(job_id, transcript_format.value, output)


def delete_job(job_id: JobArgument) -> None:
    """Cancel a job in flight, or remove an ended one with its audio and transcript."""
    from services.client import jobs

    jobs.delete_job(job_id)


def watch_job(job_id: JobArgument, as_json: JsonOption = False) -> None:
    """Follow a job to its end."""
    from services.client import jobs

    jobs.watch_job(job_id, as_json)


def create_key(
    name: Annotated[str, typer.Option(help="What people call the key.")],
    kind: Annotated[Kind, typer.Option(help="workspace: acts as the workspace. app: acts for its signed-in callers.")] = Kind.WORKSPACE,
    test: Annotated[bool, typer.Option("--test", help="Make an sk_test_ key.")] = False,
    expires_at: Annotated[str, typer.Option(help="When it stops working, in RFC 3339, such as 2030-01-31T00:00:00Z.")] = "",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; give it once for each. Without: read, write and admin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key; its secret is shown once."""
    from services.client import keys

    keys.create_key(name, kind.value, test, expires_at, [one.value for one in scope or ()], as_json)


def list_keys(as_json: JsonOption = False) -> None:
    """List the API keys."""
    from services.client import keys

    keys.list_keys(as_json)


def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]) -> None:
    """End an API key for good."""
    from services.client import keys

    keys.revoke_key(key_id)


def me(as_json: JsonOption = False) -> None:
    """Show who the server takes you for."""
    from services.client import keys

    keys.show_me(as_json)


def create_workspace(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    plan: Annotated[str, typer.Option(help="Name of a plan in the plans file; left out, the file's default.")] = "",
    key_name: Annotated[str, typer.Option(help="What people call its key.")] = "first key",
    data: DataOption = Path(".steno"),
    billing_address: BillingOption = "",
    identity_key_file: IdentityOption = None,
    certificates: CertificatesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a workspace and its first API key, whose secret is shown once."""
    from services.stack.operating import Access
    from services.stack.workspaces import run_create_workspace

    run_create_workspace(Access(data, billing_address, identity_key_file, certificates), name, plan, key_name, as_json=as_json)


def add_workspace_key(
    workspace_id: Annotated[str, typer.Argument(metavar="WORKSPACE_ID", help="The workspace's id.")],
    name: Annotated[str, typer.Option(help="What people call the key.")],
    data: DataOption = Path(".steno"),
    billing_address: BillingOption = "",
    identity_key_file: IdentityOption = None,
    certificates: CertificatesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a workspace another API key, for instance because all of its own are lost; its secret is shown once."""
    from services.stack.operating import Access
    from services.stack.workspaces import run_add_key

    run_add_key(Access(data, billing_address, identity_key_file, certificates), workspace_id, name, as_json=as_json)


def assign_plan(
    workspace_id: Annotated[str, typer.Argument(metavar="WORKSPACE_ID", help="The workspace's id.")],
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Name of a plan in the plans file.")],
    email: Annotated[str, typer.Option(help="Move only the user of this e-mail address.")] = "",
    data: DataOption = Path(".steno"),
    billing_address: BillingOption = "",
    identity_key_file: IdentityOption = None,
    certificates: CertificatesOption = None,
) -> None:
    """Put a workspace, or one user of it, on a plan; one that includes more adds the difference at once."""
    from services.stack.operating import Access, run_assign_plan

    run_assign_plan(Access(data, billing_address, identity_key_file, certificates), workspace_id, plan, email)


def grant_credit(
    wallet_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a workspace, a user or a buyer's wallet.")],
    minutes: Annotated[int, typer.Argument(metavar="MINUTES", min=1, help="Minutes of audio; they do not end with the month.")],
    reference: Annotated[str, typer.Option(help="Your name for this grant, such as an invoice's number: the same one never adds twice.")],
    data: DataOption = Path(".steno"),
    billing_address: BillingOption = "",
    identity_key_file: IdentityOption = None,
    certificates: CertificatesOption = None,
) -> None:
    """Add credit."""
    from services.stack.operating import Access, run_grant_credit

    run_grant_credit(Access(data, billing_address, identity_key_file, certificates), wallet_id, minutes, reference)


def migrate(
    service: Annotated[list[Service] | None, typer.Option(help="Only this service; may be repeated.")] = None,
) -> None:
    """Bring the databases to the newest schema."""
    from services.stack.migrations import run_migrate

    run_migrate([one.value for one in service or list(Service)])


def init_secrets(
    out: Annotated[Path, typer.Option(help="Folder for the keys; those that are there stay.", file_okay=False)],
) -> None:
    """Make the keys that the services of one mesh share: identity, pepper, URLs, claims."""
    from services.stack.secret_files import run_secrets_init

    run_secrets_init(out)


def check_config(
    services: Annotated[list[Part] | None, typer.Argument(metavar="[SERVICE]…", help="Only these services; all without any.")] = None,
    production: Annotated[bool, typer.Option("--production", help="Judge as the production profile does, whatever is set.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask databases and NATS how durable they are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every setting that services would read here, secrets as fingerprints, and every problem; exit status 2 if there is one."""
    from services.stack.config.command import run_config_check

    chosen = [one.value for one in services or ()]
    raise typer.Exit(run_config_check(chosen, production=production, ask=not offline, as_json=as_json))


def make_development_certificates(
    out: Annotated[Path, typer.Option(help="Folder for the authority and DIR/<service>/{tls.crt,tls.key,ca.crt}.", file_okay=False)],
    host: Annotated[list[str] | None, typer.Option(help="Name or address of servers, beside localhost; may be repeated.")] = None,
    client: Annotated[list[str] | None, typer.Option(help="Program of another team that calls over gRPC; may be repeated.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days that a certificate lasts; the authority lasts ten years.")] = 30,
    trust_domain: Annotated[str, typer.Option(help="What the URIs in the certificates begin with.")] = "steno",
    anew: Annotated[bool, typer.Option("--anew", help="Make all anew, due or not; the authority stays.")] = False,
) -> None:
    """Make certificates for development, and renew those that are due; services take them up while they run."""
    from services.stack.certificates.command import run_certs_dev

    run_certs_dev(out, hosts=host or [], clients=client or [], days=days, trust_domain=trust_domain, anew=anew)


def doctor(
    data: DataOption = Path(".steno"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port that the API would take.")] = 8080,
    engine: Annotated[Engine, typer.Option(help="Where the models would run.")] = Engine.LOCAL,
    remote: Annotated[bool, typer.Option("--remote", help="Check only the server that STENO_URL names.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check whether Steno can run here, and what to do where it cannot."""
    from services.stack.doctor.command import run_doctor

    raise typer.Exit(run_doctor(data.absolute(), port, engine.value, as_json, remote=remote))


def version() -> None:
    """Print the version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed_version

    try:
        print(f"steno {installed_version('steno')}")
    except PackageNotFoundError:
        print("steno (run from its source folder, not installed)")


def make_app() -> typer.Typer:
    """The command tree."""
    app = _group(
        "Self-hosted speech platform: recordings in, transcripts with speakers and word times out.",
        {"up": up, "transcribe": transcribe, "me": me, "migrate": migrate, "restore": restore, "doctor": doctor, "version": version},
    )
    backups = _group("Backups of everything that is kept.", {"verify": verify_backup})
    backups.info.no_args_is_help = False
    backups.callback(invoke_without_command=True)(back_up)
    app.add_typer(backups, name="backup")
    jobs = {"list": list_jobs, "show": show_job, "result": save_result, "delete": delete_job, "watch": watch_job}
    app.add_typer(_group("Jobs: what became of the recordings that were sent.", jobs), name="jobs")
    keys = {"create": create_key, "list": list_keys, "revoke": revoke_key}
    app.add_typer(_group("API keys: who may call.", keys), name="keys")
    app.add_typer(_group("Models: the Whisper models of this installation.", MODELS), name="models")
    app.add_typer(_group("Datasets: labelled recordings, the detectors trained on them, and what those find.", DATASETS), name="datasets")
    workspaces = {"create": create_workspace, "add-key": add_workspace_key}
    app.add_typer(_group("Workspaces: made by the operator's hand.", workspaces), name="workspaces")
    app.add_typer(_group("Plans: what a workspace or user is granted.", {"assign": assign_plan}), name="plans")
    app.add_typer(_group("Credit: minutes added by the operator's hand.", {"grant": grant_credit}), name="credit")
    app.add_typer(_group("Certificates: who is who between services.", {"dev": make_development_certificates}), name="certs")
    app.add_typer(_group("Secrets: the keys of a mesh on several machines.", {"init": init_secrets}), name="secrets")
    app.add_typer(_group("Settings: what the services would read, and what is wrong with it.", {"check": check_config}), name="config")
    return app


def _group(sentence: str, commands: Mapping[str, Any]) -> typer.Typer:
    group = typer.Typer(help=sentence, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    for name, command in commands.items():
        group.command(name)(command)
    return group


def main() -> None:
    """The `steno` program."""
    try:
        make_app()()
    except CommandFailed as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
