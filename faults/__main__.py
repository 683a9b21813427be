"""Run campaigns and print their figures: `python -m faults [NAME ...] [--long] [--seed N] [--count N] [--database sqlite|postgresql]`."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from faults.campaign import Figure, Options, Skipped, find, names, summary


def main() -> int:
    """Run what is asked for; 0 when every figure holds."""
    options = _parse()
    held = [_run(name, options) for name in options.names or names()]
    return 0 if all(held) else 1


def _parse() -> argparse.Namespace:
    summaries = "\n".join(f"  {name:<12} {summary(name)}" for name in names())
    parser = argparse.ArgumentParser("python -m faults", epilog=summaries, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*names(), []], metavar="NAME", help="campaigns to run; all by default")
    parser.add_argument("--long", action="store_true", help="the long form, whose figures stand in docs/reliability.md")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="how much to do, instead of what short or long means")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    return parser.parse_args()


def _run(name: str, asked: argparse.Namespace) -> bool:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="steno-faults-", ignore_cleanup_errors=True) as folder:
        options = Options(Path(folder), asked.seed, asked.long, asked.database, asked.count)
        print(f"== {name}, {asked.database}, seed {asked.seed}", flush=True)
        try:
            figures = find(name).run(options)
        except Skipped as reason:
            print(f"   skipped: {reason}", flush=True)
            return True
        except AssertionError as error:
            print(f"   BROKEN: {error}", flush=True)
            return False
    for figure in figures:
        print(_line(figure), flush=True)
    held = all(figure.holds for figure in figures)
    told = {figure.name: figure.value for figure in figures}
    seconds = round(time.monotonic() - started, 1)
    summary = {"campaign": name, "database": asked.database, "seed": asked.seed, "holds": held, "seconds": seconds}
    print(json.dumps({**summary, "figures": told}), flush=True)
    return held


def _line(figure: Figure) -> str:
    bounds = [f"{sign} {bound:g}" for sign, bound in (("<=", figure.at_most), (">=", figure.at_least)) if bound is not None]
    value = f"{figure.value:,.6g} {figure.unit}".rstrip()
    return f"   {figure.name:<60} {value:>14}  {' and '.join(bounds):<12} {'' if figure.holds else 'MISSED'}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
