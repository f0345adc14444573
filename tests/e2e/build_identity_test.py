"""The name of a build says which sources it was made of: the same for equal ones wherever they lie, another one
for any change of them, and none for what is no source of the program."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class BuildIdentity(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def tree(self, name):
        root = os.path.join(self.folder, name)
        for path, text in {"CMakeLists.txt": "project(x)", "core/a.h": "int a;", "launcher/b.cc": "int b;",
                           "proto/c.proto": "message C {}", "docs/d.md": "words", "tests/e.cc": "test"}.items():
            self.write(root, path, text)
        return root

    def write(self, root, path, text):
        path = os.path.join(root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def generate(self, root):
        out = os.path.join(self.folder, "out.cc")
        subprocess.run(["cmake", "-D", f"ROOT={root}", "-D", "VERSION=1.2.3", "-D", f"OUT={out}", "-P",
                        os.path.join(SOURCE, "cmake/build_identity.cmake")], check=True, capture_output=True)
        return out

    def identity(self, root):
        with open(self.generate(root)) as f:
            return re.search(r'"(blockstep 1\.2\.3 sources [0-9a-f]{16})"', f.read()).group(1)

    def test_is_of_the_content(self):
        first = self.tree("here")
        wanted = self.identity(first)
        second = self.tree("a/longer/way/there")
        for path in ("docs/d.md", "tests/e.cc", "core/notes.txt", ".git/HEAD", "build/core/f.cc"):
            self.write(second, path, "something else")
        self.assertEqual(self.identity(second), wanted)
        names = {wanted}
        for path, text in (("core/a.h", "int A;"), ("core/new.cc", ""), ("proto/c.proto", "message D {}"),
                           ("CMakeLists.txt", "project(y)")):
            self.write(second, path, text)
            names.add(self.identity(second))
        shutil.move(os.path.join(second, "core/new.cc"), os.path.join(second, "core/other.cc"))
        names.add(self.identity(second))
        self.assertEqual(len(names), 6)

    def test_the_file_is_touched_only_by_a_change(self):
        root = self.tree("here")
        out = self.generate(root)
        os.utime(out, (1, 1))
        self.generate(root)
        self.assertEqual(os.stat(out).st_mtime, 1)
        self.write(root, "core/a.h", "int A;")
        self.generate(root)
        self.assertNotEqual(os.stat(out).st_mtime, 1)


if __name__ == "__main__":
    unittest.main(argv=["build_identity_test.py", "-v"])
