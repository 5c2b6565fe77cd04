"""Mutated files by the thousand: never a traceback, a hang, too much memory, or a wrong count.

    python tests/benchmarks/bench_fuzz.py --files 10000 --formats idx,csv,parquet --seed 0
    python tests/benchmarks/bench_fuzz.py --formats csv --seed 4711 --files 1 --keep FOLDER

Each file is checked as `validate` does and ingested as a training does; both must agree with each
other and with an independent reading (tests/fuzz). Every 50th also goes through the command line.
The second form keeps one file to look at. Ends with 1 if anything was found.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from examine import Outcome
from mutations import FORMATS, case
from runner import Worker, run, working

KINDS = ("traceback", "crash", "hang", "slow", "memory", "miscount", "content", "disagreement")
KINDS = (*KINDS, "half-written", "exit code")
SHOWN = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000, help="of each format")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--seed", type=int, default=0, help="of the first file; then upwards")
    parser.add_argument("--every", type=int, default=50, help="which go through the command line")
    parser.add_argument("--keep", type=Path, help="a folder for the files that were made")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.files)
    with working() as worker:
        summaries = [
            _run(worker, form, seeds, options.every, options.keep)
            for form in options.formats.split(",")
        ]
    for form, outcomes, _ in summaries:
        _print_refusals(form, outcomes)
    _print_table(summaries)
    sys.exit(any(outcome.faults for _, outcomes, _ in summaries for outcome in outcomes))


Summary = tuple[str, list[Outcome], float]


def _run(worker: Worker, form: str, seeds: range, every: int, keep: Path | None) -> Summary:
    started, outcomes, seen = time.perf_counter(), [], Counter[str]()
    for seed, outcome in run(worker, form, seeds, every):
        outcomes.append(outcome)
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            for name, data in case(form, seed).files.items():
                (keep / f"{seed}-{name}").write_bytes(data)
        for fault in outcome.faults:
            seen[fault[:40]] += 1
            if seen[fault[:40]] <= SHOWN:
                print(f"{form} {seed} ({case(form, seed).what}): {fault}", flush=True)
        outcome.answer.clear()
    return form, outcomes, time.perf_counter() - started


def _print_refusals(form: str, outcomes: list[Outcome]) -> None:
    refused = Counter(outcome.headline for outcome in outcomes if outcome.verdict == "refused")
    print(f"\n{form}: refused with exit code and headline")
    for headline, count in refused.most_common():
        print(f"{count:8,}  {headline}")


def _print_table(summaries: list[Summary]) -> None:
    lines = [["", *(form for form, _, _ in summaries)]]
    totals = [outcomes for _, outcomes, _ in summaries]
    lines.append(["files", *(f"{len(outcomes):,}" for outcomes in totals)])
    for verdict, words in (
        ("whole", "accepted whole"),
        ("with rejects", "with rejects"),
        ("refused", "refused"),
    ):
        counts = [sum(outcome.verdict == verdict for outcome in outcomes) for outcomes in totals]
        lines.append([words, *(f"{count:,}" for count in counts)])
    for kind in KINDS:
        faults = [sum(any(f.startswith(kind) for f in o.faults) for o in os) for os in totals]
        lines.append([kind, *(f"{count:,}" for count in faults)])
    lines.append(["peak memory, MB", *(f"{max(o.growth for o in os) >> 20}" for os in totals)])
    lines.append(["slowest file, CPU s", *(f"{max(o.seconds for o in os):.2f}" for os in totals)])
    lines.append(["seconds", *(f"{seconds:,.0f}" for _, _, seconds in summaries)])
    print()
    for first, *others in lines:
        print(f"{first:20}" + "".join(f"{text:>10}" for text in others))


if __name__ == "__main__":
    main()
