"""Makes the decision to stop a run early, from the scores of its validations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .snapshot import Best


@dataclass(frozen=True)
class Patience:
    """How long a score has not become better: ``waited`` validations since the ``best`` one; ``step`` is the last one's.

    All workers see the same scores and come to the same decision; a snapshot holds it, so that a resumed run stops where
    one that was never interrupted does.
    """

    best: float | None = None
    waited: int = 0
    step: int = -1

    def after(self, step: int, scores: Mapping[str, float], rule: Best, *, min_delta: float) -> "Patience":
        """What is known after the validation of ``step``; one that is done again, for a fault, counts once.

        A score is better than the best so far by more than ``min_delta`` or not at all; NaN never is.

        >>> known = Patience().after(10, {"val_loss": 2.0}, Best.of("lowest val_loss"), min_delta=0.5)
        >>> known.after(20, {"val_loss": 1.8}, Best.of("lowest val_loss"), min_delta=0.5)
        Patience(best=2.0, waited=1, step=20)
        """
        if step <= self.step:
            return self
        score = scores[rule.name]
        if rule.prefers(score, self.best, by=min_delta):
            return Patience(score, 0, step)
        return replace(self, waited=self.waited + 1, step=step)

    def is_out(self, limit: int | None) -> bool:
        """Whether ``limit`` validations in a row brought nothing better."""
        return limit is not None and self.waited >= limit

    def as_list(self) -> list[float | int | None]:
        """The three numbers, as a snapshot keeps them."""
        return [self.best, self.waited, self.step]

    @staticmethod
    def of(saved: Sequence[float | int | None] | None) -> "Patience":
        """What ``as_list`` made, or that of a run which has had no validation."""
        return Patience(*saved) if saved else Patience()  # pyright: ignore[reportArgumentType]
