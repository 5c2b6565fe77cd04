"""A gate: an answer must not take too long."""

import dataclasses

from mnist_pipeline.evaluate.gate import Case, Finding
from mnist_pipeline.plugins import option


@dataclasses.dataclass(frozen=True)
class InferenceTime:
    """Blocks a candidate whose answers cost too much CPU time, as measured in the exam."""

    max_microseconds: float = option(1000.0, "CPU time that an answer may take at most")

    def __post_init__(self) -> None:
        if not self.max_microseconds > 0:
            raise ValueError("an answer takes more than no time")

    def judge(self, case: Case) -> Finding:
        taken = case.candidate.microseconds
        if taken is None:
            return Finding("hold", ("time_unknown: nobody measured how long an answer takes",))
        words = f"an answer takes {taken:g} µs, {self.max_microseconds:g} are allowed"
        if taken > self.max_microseconds:
            return Finding("block", (f"too_slow: {words}",))
        return Finding("promote", (f"fast_enough: {words}",))
