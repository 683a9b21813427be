"""Every contract knows how to say every no."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

import pytest

from services.gateway import contracts
from services.gateway.domain import Reason
from services.gateway.meanings import MEANINGS, Meaning
from services.gateway.refusals import INTERNAL_REASONS, Answer
from services.gateway.sentences import SENTENCES
from steno.errors.v1.error_reason_pb2 import ErrorReason

PREFIX = "ERROR_REASON_"
REASONS = {name.removeprefix(PREFIX) for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - an enum, not a dict
PACKAGES = [module.name for module in iter_modules(contracts.__path__) if module.ispkg]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_contract_answers_every_reason_of_the_mesh_and_of_the_gateway(package: str) -> None:
    answers: Mapping[str, Answer] = import_module(f"services.gateway.contracts.{package}.errors").ANSWERS
    assert (REASONS | set(Reason)) - set(answers) - INTERNAL_REASONS == set()
    assert set(answers) & INTERNAL_REASONS == set()
    assert set(answers) - REASONS - set(Reason) == set(), "a reason that nobody gives"


def test_every_answered_reason_has_a_sentence() -> None:
    assert (REASONS | set(Reason)) - INTERNAL_REASONS - set(SENTENCES) == set()


def test_no_reason_has_two_meanings() -> None:
    given = [reason for reasons in MEANINGS.values() for reason in reasons]
    assert len(given) == len(set(given))
    assert set(given) <= (REASONS | set(Reason)) - INTERNAL_REASONS
    assert set(MEANINGS) == set(Meaning)
