"""The distribution: built from its sdist, installed into a clean environment, used from another directory.

No network: the build runs with the hatchling that is installed here (no build isolation), and the clean environment borrows the
dependencies of refsim, link by link, from this interpreter's site-packages. Nothing of refsim is among them: neither an editable
install nor its metadata, whose entry points pytest would find.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import refsim

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("docs", "golden", "implementations", "properties", "reports")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, outside of any PYTHONPATH."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "COV_"))}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment with nothing of its own, and a directory to run in that is not the repository."""

    folder: Path
    elsewhere: Path

    @classmethod
    def create(cls, place: Path) -> Environment:
        made = cls(place / "env", place / "elsewhere")
        made.elsewhere.mkdir()
        run(sys.executable, "-m", "venv", "--without-pip", made.folder, cwd=place)
        for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            for entry in Path(folder).iterdir():
                if entry.suffix != ".pth" and "refsim" not in entry.name:
                    (made.site / entry.name).symlink_to(entry)
        return made

    @property
    def site(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def install(self, *what: str | Path) -> None:
        options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--ignore-installed")
        run(sys.executable, "-m", "pip", "--python", self.folder / "bin/python", "install", *options, *what, cwd=self.elsewhere)

    def python(self, code: str) -> str:
        return run(self.folder / "bin/python", "-c", code, cwd=self.elsewhere)

    def refsim(self, *arguments: str) -> str:
        return run(self.folder / "bin/refsim", *arguments, cwd=self.elsewhere)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A clean environment with the wheel in it."""
    environment = Environment.create(tmp_path_factory.mktemp("clean"))
    environment.install(wheel)
    return environment


def shipped() -> set[str]:
    """Where every file of the package and of its parts belongs in the wheel."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "refsim", *PARTS, cwd=ROOT).split("\n")
    present = [name for name in listed if name and (ROOT / name).is_file()]
    return {name if name.startswith("refsim/") else f"refsim/{name}" for name in present}


def contents(wheel: Path) -> dict[str, int]:
    """Files of a wheel with their checksums, but for the record of the checksums."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if not entry.filename.endswith("/RECORD")}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_parts_and_nothing_else(wheel: Path) -> None:
    metadata = f"refsim-{refsim.__version__}.dist-info/"
    packed = {name for name in contents(wheel) if not name.startswith(metadata)}
    assert packed == shipped()
    for part in PARTS:
        assert any(name.startswith(f"refsim/{part}/") for name in packed), f"{part}/ is empty"


@pytest.mark.slow
def test_sdist_and_repository_build_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (direct,) = tmp_path.glob("*.whl")
    assert contents(direct) == contents(wheel)


@pytest.mark.slow
def test_parts_are_found_inside_the_installed_package(installed: Environment) -> None:
    inside = installed.site / "refsim"
    for part in PARTS:
        assert Path(installed.refsim("path", part).strip()) == inside / part
    assert Path(installed.python("import refsim; print(refsim.__file__)").strip()) == inside / "__init__.py"


@pytest.mark.slow
def test_commands_run_from_another_directory(installed: Environment) -> None:
    listed = installed.refsim("ops")
    for name in sorted({d.name for d in refsim.definitions()}):
        assert name in listed
    targets = installed.refsim("check", "--list")
    for folder in sorted((ROOT / "implementations").glob("*/adapter.py")):
        assert folder.parent.name in targets


@pytest.mark.slow
def test_the_verbs_work_in_the_clean_environment(installed: Environment) -> None:
    code = "import refsim; p = refsim.plan('i_gelu', scale=2**-12, input_bits=17); print(refsim.run(p, [1, -1, 4096]).tolist())"
    assert json.loads(installed.python(code)) == [-7775, 6410, -48635904]


HEAVY = ("numpy", "torch", "matplotlib", "hypothesis", "jsonschema")


@pytest.mark.slow
def test_importing_refsim_loads_nothing_heavy(installed: Environment) -> None:
    code = f"import sys, refsim; dir(refsim); print([m for m in {HEAVY} if m in sys.modules])"
    assert installed.python(code).strip() == "[]"


@pytest.mark.slow
def test_pytest_finds_the_plugin_and_stays_light(installed: Environment) -> None:
    code = (
        "import sys, pytest; pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider'])\n"
        "print('refsim.conformance.plugin' in sys.modules, 'numpy' in sys.modules)"
    )
    assert installed.python(code).strip().split("\n")[-1] == "True False"


def test_an_editable_install_finds_the_repository(tmp_path: Path) -> None:
    environment = Environment.create(tmp_path)
    environment.install("--editable", ROOT)
    for part in PARTS:
        code = f"from refsim.content import content; print(content({part!r}))"
        assert Path(environment.python(code).strip()) == ROOT / part


@pytest.mark.slow
def test_the_version_is_that_of_the_package(installed: Environment) -> None:
    code = "import importlib.metadata as m; print(m.version('refsim'))"
    assert installed.python(code).strip() == refsim.__version__
