"""Measure subpool and the standard library's pools in one run, as ratios.

    python bench/bench.py [--quick] [--rounds N] [--workers N] [--json FILE]

All pools take their turn in each round, and there are several rounds, so that whatever else
the machine does falls on all of them.  A missed target is said, and is no failure: times
depend on the machine, so the exit status says only that the run came to its end.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from measure import QUICK, Sizes, measure
from peers import all_peers
from report import Rounds, as_json, machine, show, targets


def main() -> None:
    options = parse_arguments()
    sizes = QUICK if options.quick else Sizes()
    count = options.rounds or (2 if options.quick else 7)
    console = Console(highlight=False)
    where = machine()
    console.print(
        f"{where['python']}, subpool {where['subpool']}, {where['date']}\n"
        f"{where['cpu']}, {where['usable_cpus']} of {where['cpus']} CPUs, "
        f"load {where['load']}, {where['system']}\n"
        f"{options.workers} workers per pool, {count} rounds"
        + (", quick: small sizes, rough figures" if options.quick else "")
    )

    peers = all_peers()
    rounds = Rounds(peers, {peer.key: [] for peer in peers})
    for number in range(1, count + 1):
        start = time.perf_counter()
        for peer in peers:
            rounds.samples[peer.key].append(measure(peer, options.workers, sizes))
        console.print(f"round {number} of {count}: {time.perf_counter() - start:.1f} s")

    show(console, rounds)
    judged = targets(rounds, options.workers)
    for target in judged:
        console.print(f"Target: {target}", style=None if target.met else "bold", soft_wrap=True)
    if options.json:
        settings = {"workers": options.workers, "rounds": count, **asdict(sizes)}
        text = json.dumps(as_json(where, settings, rounds, judged), indent=2)
        options.json.write_text(text + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, rough figures")
    parser.add_argument("--rounds", type=positive, metavar="N", help="default: 7, or 2 if quick")
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        default=2,
        help="workers of each pool (default: 2, which the targets are for)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


if __name__ == "__main__":  # worker processes import this file again
    main()
