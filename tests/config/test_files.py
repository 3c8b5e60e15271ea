"""
Where the configuration is.
"""

from __future__ import annotations

from pathlib import Path

from restbridge.config import ConfigurationRefused, find, load
from tests.config.written import Written


class FileTests(Written):
    def test_unreadable(self) -> None:
        """
        A file that can't be read is one fault that names it.
        """
        for path, problem in {
            self.folder / "nonesuch": "No such file or directory",
            self.folder: "Is a directory",
        }.items():
            refused = self.assertRaises(ConfigurationRefused, load, path, {})
            self.assertEqual(str(refused), f"{path} can't be read: {problem}")
        binary = self.folder / "binary"
        binary.write_bytes(b"\xff")
        self.assertRaises(ConfigurationRefused, load, binary, {})

    def test_find(self) -> None:
        """
        The environment's file comes first, then the folder's, then the machine's.
        """
        systemWide = self.write("system.toml", "")
        self.assertEqual(find({}, self.folder, systemWide), systemWide)
        here = self.write("restbridge.toml", "")
        self.assertEqual(find({}, self.folder, systemWide), here)
        self.assertEqual(find({"RESTBRIDGE_CONFIG": ""}, self.folder, systemWide), here)
        self.assertEqual(find({"RESTBRIDGE_CONFIG": "/x"}, self.folder, systemWide), Path("/x"))
        self.assertEqual(find({"RESTBRIDGE_CONFIG": "x"}, self.folder, systemWide), self.folder / "x")

    def test_forbidden(self) -> None:
        """
        One that can't be looked at is not taken for one that isn't there.
        """
        tooLong = self.folder / ("x" * 300)
        self.assertEqual(find({}, tooLong, self.folder / "x.toml").parent, tooLong)
        with self.assertRaisesRegex(ConfigurationRefused, "can't be read: File name too long"):
            load(tooLong / "restbridge.toml")

    def test_nowhere(self) -> None:
        """
        With no configuration at all, one line names the three places and the demo.
        """
        refused = self.assertRaises(ConfigurationRefused, find, {}, self.folder, self.folder / "system.toml")
        (line,) = str(refused).splitlines()
        for named in ("$RESTBRIDGE_CONFIG", "./restbridge.toml", str(self.folder / "system.toml"), "--demo"):
            self.assertIn(named, line)
