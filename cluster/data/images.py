"""Makes batches of images and labels from a folder with a folder of image files for each class, through Pillow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .stamps import Stamp, check_unchanged, stamp

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class ImageFolder:
    """A source of image files; a batch is a dict of ``image``, float32 from 0 to 1, and ``label``, int64.

    The classes are the folders' names in order; a label is the number of its class. ``image`` has the shape (n, height,
    width, channels): images are resized to ``size`` (height, width), or all have one size where that is ``None``; 1 channel
    is grey, 3 and 4 are colours without and with transparency. Only the path travels to the workers, which must all see it;
    a file is read when it is asked for.
    """

    path: Path
    size: tuple[int, int] | None
    channels: int
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    stamps: tuple[Stamp, ...]

    @staticmethod
    def at(path: str | Path, *, size: tuple[int, int] | None = None, channels: int = 3) -> "ImageFolder":
        """The source at ``path``.

        Raises ``DataError`` when there are no images, and ``ConfigError`` for other channels or without Pillow.
        """
        path = Path(path).absolute()
        if channels not in _MODES:
            raise ConfigError(f"channels is {channels}; the known ones are {', '.join(map(str, _MODES))}")
        folders = image_folders(path)
        if not folders:
            raise DataError(f"{path} holds no folders of images ({', '.join(_SUFFIXES)}), one for each class")
        found = [(label, file) for label, folder in enumerate(folders) for file in _images(folder)]
        classes, labels = tuple(folder.name for folder in folders), tuple(label for label, _ in found)
        made = ImageFolder(path, size, channels, classes, labels, tuple(stamp(path, file) for _, file in found))
        made.batch(np.zeros(1, np.int64))
        return made

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The images at ``indices`` (int64, shape (n,)) and their labels.

        Raises ``DataError`` for a file that cannot be read, has another size, or changed since the source was made.
        """
        images = []
        for index in indices:
            one = self.stamps[index]
            check_unchanged(self.path, (one,))
            images.append(self._read(self.path / one.name))
            if images[-1].shape != images[0].shape:
                raise DataError(
                    f"the image {self.path / one.name} has {images[-1].shape[0]} x {images[-1].shape[1]} pixels, and "
                    f"{self.path / self.stamps[indices[0]].name} has {images[0].shape[0]} x {images[0].shape[1]}: give a size"
                )
        labels = np.array([self.labels[index] for index in indices], np.int64)
        return {"image": np.stack(images).astype(np.float32) / np.float32(255), "label": labels}

    def _read(self, file: Path) -> np.ndarray:
        image_library = _pillow()
        try:
            with image_library.open(file) as opened:
                image = opened.convert(_MODES[self.channels])
                if self.size is not None:
                    image = image.resize((self.size[1], self.size[0]), image_library.Resampling.BILINEAR)
                return np.asarray(image, np.uint8).reshape(image.height, image.width, self.channels)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"the image {file} cannot be read: {error}") from error


def image_folders(path: Path) -> list[Path]:
    """The folders in ``path`` that hold images, in the order of their names."""
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and _images(folder)) if path.is_dir() else []


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigError("a folder of images takes Pillow: pip install 'retape[data]'") from error
    return Image
