"""The package as users get it: what the wheel holds, what importing loads, what make says on a new clone."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("runtime", "checkpoint", "scheduler", "cluster")
OUTSIDE = ("tests", "benchmarks")
OPTIONAL = ("ray", "matplotlib", "msgpack", "rich", "scipy", "sklearn", "fsspec", "pyarrow", "PIL", "tensorboardX")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command away from the checkout; the caller looks at its exit status."""
    # `make test` hands its own ARGS down in MAKEFLAGS.
    environment = os.environ | {"MAKEFLAGS": "", "MAKELEVEL": "0"} | variables
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def python(code: str, cwd: Path, **variables: str) -> str:
    """What a fresh interpreter prints for `code`, with nothing on its path but what is installed."""
    done = run(sys.executable, "-P", "-c", code, cwd=cwd, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def code_folders() -> dict[str, Path]:
    """Every folder on the four floors that holds Python files, by its import path."""
    files = (file for floor in FLOORS for file in (ROOT / floor).rglob("*.py"))
    return {".".join(["retape", *file.parent.relative_to(ROOT).parts]): file.parent for file in files}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what installing the wheel puts into site-packages, and nothing else."""
    # Built from a copy, for setuptools leaves a build folder beside the sources.
    source, dist, site = (tmp_path_factory.mktemp(name) for name in ("source", "dist", "site"))
    made = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "runs", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=made, dirs_exist_ok=True)
    pip_wheel = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    done = run(*pip_wheel, "--wheel-dir", dist, source, cwd=dist)
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = dist.glob("*.whl")
    zipfile.ZipFile(file).extractall(site)
    return site


def test_every_folder_of_code_is_a_listed_package(project: dict) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted({"retape", *code_folders()})


def test_every_listed_package_has_an_init_file() -> None:
    without = [name for name, folder in code_folders().items() if not (folder / "__init__.py").is_file()]
    assert without == []


def test_the_wheel_adds_one_name_to_site_packages(site: Path) -> None:
    names = {path.name for path in site.iterdir()}
    [info] = {name for name in names if re.fullmatch(r"retape-[^-]+\.dist-info", name)}
    assert names == {"retape", info}


def test_the_wheel_holds_every_module_and_the_type_marker(site: Path) -> None:
    sources = {file.relative_to(ROOT) for folder in code_folders().values() for file in folder.glob("*.py")}
    faces = {file.relative_to(ROOT) for file in ROOT.glob("*.py")}
    packed = {file.relative_to(site / "retape") for file in (site / "retape").rglob("*") if file.is_file()}
    assert packed == sources | faces | {Path("py.typed")}


def test_the_wheel_imports_from_where_it_is_installed(site: Path, tmp_path: Path) -> None:
    where = python("import retape; print(retape.__file__)", tmp_path, PYTHONPATH=str(site))
    assert Path(where) == site / "retape" / "__init__.py"


def test_the_installed_package_leaks_no_generic_name(tmp_path: Path) -> None:
    names = FLOORS + OUTSIDE
    code = f"from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"
    assert python(code, tmp_path) == "[]"


def test_importing_retape_loads_no_optional_package(tmp_path: Path) -> None:
    code = f"import sys, retape; print([name for name in {OPTIONAL} if name in sys.modules])"
    assert python(code, tmp_path) == "[]"


def test_retape_imports_where_no_optional_package_is_installed(tmp_path: Path) -> None:
    code = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL})); import retape; print('imported')"
    assert python(code, tmp_path) == "imported"


def test_every_package_that_the_code_imports_is_declared(project: dict) -> None:
    extras = project["project"]["optional-dependencies"]
    for_users = [extra for name, extra in extras.items() if name not in ("dev", "bench")]
    declared = [*project["project"]["dependencies"], *(requirement for extra in for_users for requirement in extra)]
    known = {re.split(r"[\[<>=~!; ]", requirement)[0].lower() for requirement in declared}
    distribution = {"sklearn": "scikit-learn", "PIL": "pillow", "tensorboardX": "tensorboardx"}
    files = [file for folder in (ROOT, *code_folders().values()) for file in folder.glob("*.py")]
    imported = {distribution.get(name, name) for file in files for name in absolute_imports(file)}
    assert imported - sys.stdlib_module_names - {"retape"} <= known


def absolute_imports(file: Path) -> set[str]:
    """The first word of every absolute import in a file."""
    nodes = list(ast.walk(ast.parse(file.read_bytes())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    chosen = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in plain | chosen if name}


def test_every_command_names_a_function_that_is_there(project: dict) -> None:
    for command, target in project["project"].get("scripts", {}).items():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function)), command


def test_every_name_of_the_face_resolves(tmp_path: Path) -> None:
    code = "import retape; print([name for name in retape.__all__ if not hasattr(retape, name)])"
    assert python(code, tmp_path) == "[]"


def test_the_face_lists_every_public_name() -> None:
    import retape

    def public(names: Iterable[str]) -> set[str]:
        # A sub-module may be listed or not: importing one adds its name to the package.
        kept = (name for name in names if not isinstance(getattr(retape, name), ModuleType))
        return {name for name in kept if not name.startswith("_")}

    assert public(vars(retape)) == public(retape.__all__)
    assert len(retape.__all__) == len(set(retape.__all__)), "a name stands twice"


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Path:
    """A checkout with nothing set up, in a folder whose name has a space."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@needs_make
def test_make_alone_lists_every_target(bare_checkout: Path) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    done = run("make", cwd=bare_checkout)
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  ([a-z-]+)  ", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony.group(1).split())


@needs_make
@pytest.mark.parametrize(("version", "said"), [("3.9.1", "is Python 3.9.1"), (None, "is not there")])
def test_a_python_that_is_too_old_or_missing_is_refused_by_name(bare_checkout: Path, version: str | None, said: str) -> None:
    old = bare_checkout / "old python"
    if version:
        old.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}"\n', encoding="utf-8")
        old.chmod(0o755)
    done = run("make", "train", f"PYTHON={old}", cwd=bare_checkout)
    assert done.returncode != 0
    assert "retape needs Python 3.11 or newer" in done.stderr
    assert said in done.stderr
    assert not (bare_checkout / ".venv").exists()


@needs_make
def test_what_is_installed_is_not_installed_again(bare_checkout: Path) -> None:
    # A stand-in for .venv: its python writes down how it is called.
    (bare_checkout / ".venv" / "bin").mkdir(parents=True)
    calls = bare_checkout / "calls"
    stand_in = bare_checkout / ".venv" / "bin" / "python"
    stand_in.write_text('#!/bin/sh\necho "$*" >> calls\n', encoding="utf-8")
    stand_in.chmod(0o755)
    for _ in range(2):
        done = run("make", "train", "ARGS=--steps 1", f"PYTHON={sys.executable}", cwd=bare_checkout)
        assert done.returncode == 0, done.stderr
    made = calls.read_text(encoding="utf-8").splitlines()
    assert len([call for call in made if "pip install" in call]) == 1
    assert [call for call in made if "train.py" in call] == ["cluster/train.py --steps 1"] * 2
