"""
What is released. Wheel, sdist and editable install all bring C{twistd restbridge} along, and leave Twisted
whole when they go; the image has in it what it needs. Run by C{tox -e packaging}; it installs into
environments of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import venv
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

VERSIONS = """
from importlib.metadata import version
from restbridge import __version__
from restbridge.openapi.document import document
print(version("restbridge"), __version__, document()["info"]["version"])
"""
"""Prints all that an installed restbridge says of its version."""


def run(*command: str | Path, folder: Path, status: int = 0) -> str:
    """
    What a command prints; it must end with C{status}.
    """
    done = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode != status:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def version() -> str:
    """
    The one place that says it, read.
    """
    (found,) = re.findall(r'__version__ = "(.*)"', (CHECKOUT / "restbridge/_version.py").read_text("utf-8"))
    return str(found)


def listing(folder: Path) -> set[str]:
    """
    The files in the wheel there.
    """
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


class PackagingTests(unittest.TestCase):
    folder: Path
    built: Path

    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        cls.built = cls.folder / "dist"
        # The wheel is built from the sdist: what the sdist lacks, it lacks too.
        run(sys.executable, "-m", "build", "--outdir", cls.built, CHECKOUT, folder=cls.folder)

    def check(self, *requirement: str | Path) -> None:
        """
        Install into an environment of its own, use, uninstall.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            venv.create(folder / "env", with_pip=True)
            scripts = folder / "env" / "bin"
            run(scripts / "pip", "install", "-q", *requirement, folder=folder)
            self.assertIn("restbridge", run(scripts / "twistd", "--help", folder=folder))
            self.assertIn("--demo", run(scripts / "twistd", "restbridge", "--help", folder=folder))
            self.assertIn("sha256:", run(scripts / "restbridge", "new-token", folder=folder))
            # The image keeps this file, as nobody can write it there.
            self.assertEqual(1, len([*folder.glob("env/lib/*/site-packages/twisted/plugins/dropin.cache")]))
            run(
                scripts / "python", "-W", "error::ImportWarning", "-c", "import restbridge.tap", folder=folder
            )
            said = run(scripts / "python", "-c", VERSIONS, folder=folder)
            self.assertEqual({version()}, set(said.split()))
            page = "from restbridge.openapi.page import openAPI, page; openAPI(), page()"
            run(scripts / "python", "-c", page, folder=folder)
            run(scripts / "pip", "uninstall", "-q", "-y", "restbridge", folder=folder)
            twistd = run(scripts / "twistd", "--help", folder=folder)
            self.assertNotIn("restbridge", twistd)
            self.assertIn("web", twistd)

    def test_wheel(self) -> None:
        """
        The wheel holds the drop-in, the types, the page with its licence, and no __init__ of Twisted's.
        """
        (wheel,) = self.built.glob("*.whl")
        listing = run(sys.executable, "-m", "zipfile", "-l", wheel, folder=self.folder)
        self.assertIn("twisted/plugins/restbridge_plugin.py", listing)
        self.assertIn("restbridge/py.typed", listing)
        for name in ("index.html", "swagger-ui-bundle.js", "LICENSE", "NOTICE", "README.md"):
            self.assertIn(f"restbridge/openapi/static/{name}", listing)
        self.assertNotIn("twisted/__init__.py", listing)
        self.assertNotIn("twisted/plugins/__init__.py", listing)
        self.assertNotIn("tests/", listing)
        self.check(wheel)

    def test_sdist(self) -> None:
        """
        The sdist can be installed.
        """
        (sdist,) = self.built.glob("*.tar.gz")
        self.check(sdist)

    def test_whole(self) -> None:
        """
        What came with the sdist can be tested, documented and started: nothing is left behind but what is a
        checkout's, which C{check-manifest} sees to.
        """
        (sdist,) = self.built.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for name in (
            *("Dockerfile", "tox.ini", "etc/restbridge.toml", "etc/systemd/restbridge.service"),
            *("tests/live/leash.py", "tests/live/prosody_modules/mod_auth_tokens.lua", "docs/index.md"),
            *("tests/conformance/mod_rest-requests.jsonl", "changes/2.feature.md"),
        ):
            self.assertIn(name, names)
        self.assertEqual(
            set(), {name for name in names if "__pycache__" in name or name.startswith("docs/_build")}
        )

    def test_image(self) -> None:
        """
        The files that the container's image is built from are those that the package needs.
        """
        patterns = (CHECKOUT / ".dockerignore").read_text("utf-8").split()
        allowed = [pattern.strip("!/") for pattern in patterns if pattern.startswith("!")]
        with tempfile.TemporaryDirectory() as name:
            source, built = Path(name) / "source", Path(name) / "built"
            source.mkdir()
            for each in allowed:
                copy = shutil.copytree if (CHECKOUT / each).is_dir() else shutil.copy
                copy(CHECKOUT / each, source / each)
            run(sys.executable, "-m", "build", "--wheel", "--outdir", built, source, folder=self.folder)
            self.assertEqual(listing(self.built), listing(built))

    def test_changes(self) -> None:
        """
        Each fragment of the changelog is one that comes into it.
        """
        said = run(
            *(sys.executable, "-m", "towncrier", "build", "--draft", "--version", version()), folder=CHECKOUT
        )
        said = " ".join(said.split())
        for path in (CHECKOUT / "changes").iterdir():
            beginning = " ".join(path.read_text("utf-8").split())[:40]
            self.assertIn(beginning, said, path.name)

    def test_editable(self) -> None:
        """
        C{pip install -e .} works from a checkout.
        """
        self.check("-e", CHECKOUT)

    def test_metadata(self) -> None:
        """
        The package index will take what was built.
        """
        run(sys.executable, "-m", "twine", "check", "--strict", *self.built.iterdir(), folder=self.folder)
