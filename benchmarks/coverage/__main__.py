"""``python -m benchmarks.coverage``: print how often 95% intervals of simulated boards contain the truth."""

import argparse
import os
import sys
from dataclasses import replace

from benchmarks.coverage.count import Coverage, simulate
from benchmarks.coverage.world import World

# matrices are tiny here, and threads of BLAS would compete with the processes
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    print("| prompts | games | quantity | coverage | mean width | not given |")
    print("|---|---|---|---|---|---|")
    for prompts in options.prompts:
        outcome = simulate(
            replace(World(), prompts=prompts, contenders=options.contenders),
            simulations=options.simulations,
            replicates=options.replicates,
            width=options.width,
            first_seed=options.first_seed,
            processes=options.processes,
        )
        for quantity, found in outcome.coverage.items():
            print(f"| {prompts} | {outcome.games:.0f} | {quantity} | {_cells(found)} |", flush=True)
    return 0


def _cells(found: Coverage) -> str:
    missing = found.missing / (found.missing + found.intervals)
    return f"{100 * found.share:.1f} ± {100 * found.error:.1f}% | {found.width:.3f} | {missing:.1%}"


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--prompts", type=int, nargs="+", default=[30, 100, 300], help="prompts of a board")
    parser.add_argument("--contenders", type=int, default=2, choices=[2, 3, 4], help="answers of a vote")
    parser.add_argument("--simulations", type=int, default=1000, help="boards for each number of prompts")
    parser.add_argument("--replicates", type=int, default=1000, help="bootstrap resamples for each board")
    parser.add_argument("--width", type=float, default=1.0, help="factor on each interval; 0.5 must fail")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first board; others follow")
    parser.add_argument("--processes", type=int, default=1, help="boards made at the same time")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
