"""`python -m benchmarks NAME`: run one of the benchmarks, which start the servers they need and print a table."""

import importlib
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_") and path.stem != "plain_actor")


def run(arguments: list[str]) -> None:
    """Run the benchmark that the first argument names."""
    if not arguments or arguments[0] not in NAMES:
        raise SystemExit(f"usage: python -m benchmarks NAME [options]; NAME is one of {', '.join(NAMES)}")
    importlib.import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    run(sys.argv[1:])
