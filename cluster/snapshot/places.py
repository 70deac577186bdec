"""Makes a place for snapshot files, a local folder or an object store, in which each file appears whole or not at all."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConfigError, SnapshotError

Where = str | Path
Piece = bytes | bytearray | memoryview


class Place(Protocol):
    """Files by name. A method raises ``FileNotFoundError`` for no such file, ``SnapshotError`` for the rest."""

    def file(self, name: str) -> Where:
        """The whole path or URL of a file."""
        ...

    def names(self) -> list[str]:
        """The names of all files, in order; none where the place does not exist yet."""
        ...

    def read(self, name: str, end: int | None = None) -> bytes:
        """A file's bytes, the first ``end`` of them where that is given."""
        ...

    def write(self, name: str, pieces: Sequence[Piece]) -> None:
        """Makes a file of these pieces, or puts it in the place of an older one."""
        ...

    def copy(self, name: str, target: str) -> None:
        """Makes ``target`` the same file as ``name``."""
        ...

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        ...

    def move(self, name: str, folder: str) -> None:
        """Moves a file into a folder of this place."""
        ...

    def remove_leftovers(self, is_one: Callable[[str], bool]) -> None:
        """Removes half-written files whose names pass ``is_one``."""
        ...


def is_url(where: Where) -> bool:
    """Whether ``where`` is a URL such as ``s3://bucket/run``; ``file://`` is no other than a local path.

    >>> is_url("s3://bucket/run"), is_url("file:///runs/mine"), is_url("runs/mine")
    (True, False, False)
    """
    return isinstance(where, str) and "://" in where and not where.startswith("file://")


def local_path(where: Where) -> Path:
    """The path of a local folder or file, also where it is written as a ``file://`` URL."""
    return Path(where.removeprefix("file://")) if isinstance(where, str) else where


def absolute(where: Where) -> Where:
    """``where``, as other processes can use it too."""
    return where if is_url(where) else local_path(where).absolute()


def join(where: Where, name: str) -> Where:
    """A file or folder ``name`` in ``where``."""
    return f"{str(where).rstrip('/')}/{name}" if is_url(where) else local_path(where) / name


def place_of(file: Where) -> tuple[Place, str]:
    """The place that ``file`` is in, and its name there."""
    if is_url(file):
        folder, _, name = str(file).rstrip("/").rpartition("/")
        return open_place(folder), name
    path = local_path(file)
    return LocalPlace(path.parent), path.name


def open_place(where: Where) -> Place:
    """The place at a path or URL. Nothing is touched yet.

    Raises ``ConfigError`` for a URL whose library is not installed.
    """
    if not is_url(where):
        return LocalPlace(local_path(where))
    remote = RemotePlace(str(where).rstrip("/"))
    remote.connect()
    return remote


@dataclass(frozen=True)
class LocalPlace:
    """A folder that this machine sees. A file is written under another name, flushed to the disk, and renamed."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def file(self, name: str) -> Path:
        """The whole path."""
        return self.folder / name

    def names(self) -> list[str]:
        """The names of all files, in order."""
        try:
            return sorted(name for name in os.listdir(self.folder) if not name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SnapshotError(f"the folder {self.folder} cannot be read: {error.strerror or error}") from error

    def read(self, name: str, end: int | None = None) -> bytes:
        """A file's bytes."""
        try:
            with open(self.folder / name, "rb") as file:
                return file.read(-1 if end is None else end)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SnapshotError(f"{self.folder / name} cannot be read: {error.strerror or error}") from error

    def write(self, name: str, pieces: Sequence[Piece]) -> None:
        """Makes a file of these pieces."""

        def fill(temporary: Path) -> None:
            with open(temporary, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())

        self._make(name, fill)

    def copy(self, name: str, target: str) -> None:
        """Makes ``target`` the same file as ``name``."""

        def fill(temporary: Path) -> None:
            try:
                os.link(self.folder / name, temporary)
            except OSError:
                # Some file systems have no hard links.
                shutil.copyfile(self.folder / name, temporary)

        self._make(target, fill)

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise SnapshotError(f"{self.folder / name} cannot be removed: {error.strerror or error}") from error

    def move(self, name: str, folder: str) -> None:
        """Moves a file into a folder of this place."""
        try:
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
            os.replace(self.folder / name, self.folder / folder / name)
        except OSError as error:
            raise SnapshotError(f"{self.folder / name} cannot be moved: {error.strerror or error}") from error

    def remove_leftovers(self, is_one: Callable[[str], bool]) -> None:
        """Removes half-written files: ``.NAME.PID.partial``."""
        for leftover in self.folder.glob(".*.partial"):
            if is_one(leftover.name[1:].rpartition(".partial")[0].rpartition(".")[0]):
                self.remove(leftover.name)

    def _make(self, name: str, fill: Callable[[Path], None]) -> None:
        temporary = self.folder / f".{name}.{os.getpid()}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            fill(temporary)
            os.replace(temporary, self.folder / name)
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise SnapshotError(f"{self.folder / name} could not be written: {error.strerror or error}") from error


class RemotePlace:
    """A prefix in an object store that fsspec knows, which shows an object once all of it is there.

    Where a store shows files half-written (sftp, for example), their checksums tell. After an error the connection is made
    anew, so that renewed credentials are found.
    """

    def __init__(self, url: str) -> None:
        """Connects to nothing yet."""
        self.url = url
        self._connected: tuple[Any, str] | None = None

    def __str__(self) -> str:
        return self.url

    def connect(self) -> tuple[Any, str]:
        """The file system and the prefix in it.

        Raises ``ConfigError`` when the library for this kind of URL is missing, and ``SnapshotError`` when it refuses.
        """
        if self._connected is None:
            try:
                import fsspec
            except ImportError as error:
                raise ConfigError(f"snapshots at {self.url} take fsspec: pip install 'retape[remote]'") from error
            try:
                self._connected = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, use_listings_cache=False)
            except (ImportError, ValueError) as error:
                raise ConfigError(f"fsspec cannot open {self.url}: {error}") from error
            except Exception as error:
                raise SnapshotError(f"{self.url} cannot be reached: {type(error).__name__}: {error}") from error
        return self._connected

    def file(self, name: str) -> str:
        """The whole URL."""
        return f"{self.url}/{name}"

    def names(self) -> list[str]:
        """The names of all files, in order."""
        try:
            found = self._do("listed", "", lambda fs, path: fs.ls(path, detail=False))
        except FileNotFoundError:
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

    def read(self, name: str, end: int | None = None) -> bytes:
        """A file's bytes."""
        made: bytes = self._do("read", name, lambda fs, path: fs.cat_file(path, start=0, end=end))
        return made

    def write(self, name: str, pieces: Sequence[Piece]) -> None:
        """Makes a file of these pieces; an upload that fails half-way is given up."""

        def upload(fs: Any, path: str) -> None:
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            file = fs.open(path, "wb")
            try:
                for chunk in _chunks(pieces):
                    file.write(chunk)
            except BaseException:
                # Closing it, as a with statement would, makes an object of what is there.
                with suppress(Exception):
                    file.discard()
                raise
            file.close()

        self._do("written", name, upload)

    def copy(self, name: str, target: str) -> None:
        """Makes ``target`` the same file as ``name``."""
        self._do("copied", name, lambda fs, path: fs.cp_file(path, f"{path.rpartition('/')[0]}/{target}"))

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        with suppress(FileNotFoundError):
            self._do("removed", name, lambda fs, path: fs.rm_file(path))

    def move(self, name: str, folder: str) -> None:
        """Moves a file into a folder of this place."""
        self._do("moved", name, lambda fs, path: fs.mv(path, f"{path.rpartition('/')[0]}/{folder}/{name}"))

    def remove_leftovers(self, is_one: Callable[[str], bool]) -> None:
        """Does nothing: an object store has no half-written files."""

    def _do(self, what: str, name: str, act: Callable[[Any, str], Any]) -> Any:
        fs, prefix = self.connect()
        try:
            return act(fs, f"{prefix}/{name}" if name else prefix)
        except FileNotFoundError:
            raise
        except Exception as error:
            # Each store's library has errors of its own, those of its credentials among them.
            self._connected = None
            where = self.file(name) if name else self.url
            raise SnapshotError(f"{where} could not be {what}: {type(error).__name__}: {error}") from error


def _chunks(pieces: Sequence[Piece], size: int = 16 * 2**20) -> Iterable[bytes]:
    """The pieces as bytes objects of a moderate size: not every store's library takes other buffers."""
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), size):
            yield bytes(view[start : start + size])
