"""docs/settings.md is what the code says."""

from services.stack.config.classes import SERVICES, settings_class
from services.stack.operator_settings import OperatorSettings
from tools.settings_table import PAGE, page


def test_the_page_of_settings_is_written_from_the_code() -> None:
    assert PAGE.read_text() == page(), "run `python -m tools.settings_table`"


def test_every_setting_is_on_the_page_once() -> None:
    lines = [line for line in page().splitlines() if line.startswith("| `STENO_")]
    assert len(lines) == sum(len(settings_class(service).model_fields) for service in SERVICES) + len(OperatorSettings.model_fields)
