"""How well walls and icebergs are found: on seeded tapes of a market in which they are known, or on a recording.

python bench/analytics.py [--seeds 5] [--seconds 600] [--recording FILE]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from detection.participants import Participants
from detection.recordings import report_recording
from detection.scoring import detect, measure


def quartiles(ratios: list[float]) -> str:
    return ", ".join(f"{ratios[len(ratios) * part // 4]:.2f}" for part in (1, 2, 3)) if ratios else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description="How well walls and icebergs are found.")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--recording", type=Path)
    settings = parser.parse_args()
    if settings.recording:
        report_recording(settings.recording)
        return
    seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
    totals, level3, level2 = measure(seeds, settings.seconds)
    print(f"{settings.seeds} tapes of {settings.seconds:.0f} s")
    for name, result in totals.items():
        print(
            f"{name:40s} precision {result.precision:.3f} ({result.right} of {result.detections})  "
            f"recall {result.recall:.3f} ({result.found} of {result.there})"
        )
    for name, ratios in (("level 3", level3), ("level 2", level2)):
        print(f"hidden size when found, {name}: estimated / true, quartiles {quartiles(ratios)}")
    tape = Participants(settings.first_seed).run(60)
    start = time.process_time()
    detect(tape)
    print(f"{(time.process_time() - start) / len(tape) * 1e6:.1f} µs CPU a record, {len(tape)} records")


if __name__ == "__main__":
    main()
