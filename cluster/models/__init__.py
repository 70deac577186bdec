"""Makes the models that the training script knows by name; each is a file with a loss in plain NumPy."""

from ..errors import ConfigError
from . import cbow, class_tree, convolution, digits, transformer
from .protocol import Model, ModelOptions

BUILDERS = {
    "transformer": transformer.build,
    "digits": digits.build,
    "convolution": convolution.build,
    "class-tree": class_tree.build,
    "cbow": cbow.build,
}
DEFAULTS: dict[str, dict[str, int | float | str]] = {
    "transformer": transformer.DEFAULTS,
    "digits": digits.DEFAULTS,
    "convolution": convolution.DEFAULTS,
    "class-tree": class_tree.DEFAULTS,
    "cbow": cbow.DEFAULTS,
}


def build(name: str, options: ModelOptions) -> Model:
    """The model called ``name``, with its data. Raises ``ConfigError`` for an unknown name, listing the known
    ones."""
    if name not in BUILDERS:
        raise ConfigError(f"there is no model {name!r}; the models are: {', '.join(BUILDERS)}")
    return BUILDERS[name](options)


__all__ = ["BUILDERS", "DEFAULTS", "Model", "ModelOptions", "build"]
