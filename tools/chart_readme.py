"""The README of the chart: a few words, then every value with its default and its sentence."""

import json
from collections.abc import Iterator, Sequence

from tools.chart_values import Value

HEAD = """# The chart of Steno

Written from `values.yaml` by `python -m tools.chart_files`. How to install it, and what it needs, is in `docs/kubernetes.md`.

```sh
helm install steno deploy/helm/steno --namespace steno --create-namespace
```

Values that the schema does not know are refused, and so are misspelt settings. `ci/` has values of three kinds of installations:
`minimal-values.yaml` on a small cluster, `full-values.yaml` with servers of your own and everything on, `gpu-values.yaml` with Triton.

| value | default | meaning |
|---|---|---|
"""


def write_readme(values: Sequence[Value]) -> str:
    """The content of README.md."""
    return HEAD + "\n".join(row for value in values for row in _rows(value)) + "\n"


def _rows(value: Value) -> Iterator[str]:
    if value.children and not value.settings:
        for child in value.children:
            yield from _rows(child)
        return
    yield f"| `{'.'.join(value.path)}` | {_shown(value.default)} | {value.sentence.replace('|', chr(92) + '|')} |"


def _shown(default: object) -> str:
    if default in ("", None):
        return ""
    return f"`{json.dumps(default, ensure_ascii=False) if not isinstance(default, str) else default}`"
