"""
Wheel, sdist and editable install all bring C{twistd restbridge} along, and leave Twisted whole when
they go. Run by C{tox -e packaging}; it installs into environments of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


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
            run(
                scripts / "python", "-W", "error::ImportWarning", "-c", "import restbridge.tap", folder=folder
            )
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
