"""Generates the protobuf modules when a wheel or an editable install is built, and puts Triton's models into the wheel."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before the files of the wheel are gathered."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate beside the sources. version: standard or editable; an editable install finds `deploy` where it is."""
        sys.path.insert(0, str(Path(self.root) / "protos"))
        from generate import generate

        generate()
        if version == "standard":
            build_data["force_include"]["deploy/triton"] = "services/stack/triton/deployment"
