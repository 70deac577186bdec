"""Makes errors of optimizer settings that cannot work, each naming the setting and its range."""


def check_fraction(name: str, value: float) -> None:
    """Raises ``ValueError`` unless ``0 <= value < 1``."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} is {value}; it must be at least 0 and below 1, for example 0.9")


def check_positive(name: str, value: float, example: float) -> None:
    """Raises ``ValueError`` unless ``0 < value < inf``."""
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name} is {value}; it must be finite and above 0, for example {example}")


def check_decay(weight_decay: float) -> None:
    """Raises ``ValueError`` unless ``0 <= weight_decay < inf``."""
    if not 0.0 <= weight_decay < float("inf"):
        raise ValueError(f"weight_decay is {weight_decay}; it must be 0 or more, for example 0.01")
