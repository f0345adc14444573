"""What pages name exists: files, functions, configuration fields, flags. So a rename that forgets a page is seen.

Read is text between backticks in docs/, README.md and the README.md of folders:
  dist/unit_store.h              a file or folder of this repository; sources may leave out .h, .cc or .py,
                                 NAME stands for anything
  dist/unit_store.cc:Publish     the same, and a name that it holds
  UnitStore::Publish, kRowTile   names of the sources, by their last part
  train.max_bad_steps            a field of proto/config.proto
  --resume                       a flag of the program or a script
and the targets of links. Sources are read for pages that they refer to.
"""
import os
import re
import subprocess
import tomllib
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOP = ("core", "model", "optim", "dist", "proto", "launcher", "tests", "deploy", "docs", "cmake")
CODE = (".h", ".cc", ".c", ".cu", ".py", ".sh", ".proto", ".cmake", ".toml", ".inc")
HISTORY = "CHANGELOG.md"  # names what was; only its links have to lead somewhere
RUN_FILES = ("json", "log", "safetensors")  # coordinator.log is a file of a run, no field
PATH = re.compile(r"[\w.<>*-]+(/[\w.<>*{},-]+)*/?")
NAME = re.compile(r"~?(\w+::)*(k?[A-Z]\w*[a-z]\w*)(\(\))?")


def tracked():
    """Files of the work tree, new ones too: a clone and an archive have the same."""
    if os.path.exists(os.path.join(ROOT, ".git")):
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True,
                                text=True, check=True).stdout.splitlines()
        return [path for path in listed if os.path.exists(os.path.join(ROOT, path))]
    found = []
    for top in TOP + (".",):
        for folder, folders, files in os.walk(os.path.join(ROOT, top)):
            folders[:] = [] if top == "." else folders
            found += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return found


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


class Tree:
    """What pages may name."""

    def __init__(self, files, text_of):
        self.files = set(files)
        self.folders = {os.path.dirname(f)[:end] for f in files
                        for end in [m.start() for m in re.finditer("/", os.path.dirname(f) + "/")]}
        self.base_names = {os.path.basename(f) for f in files}
        code = [f for f in files if f.endswith(CODE) or f.endswith("CMakeLists.txt")]
        self.text = {f: text_of(f) for f in code}
        self.words = set(re.findall(r"\w+", " ".join(self.text.values())))
        self.flags = set(re.findall(r"--[a-z][\w-]*", " ".join(self.text.values())))
        self.library_headers = set(re.findall(r"#include <([^>]+)>", " ".join(self.text.values())))
        self.sections = fields_of(self.text.get("proto/config.proto", ""))

    def has_path(self, path):
        path = path.rstrip("/")
        return path in self.folders or any(path + end in self.files for end in ("", ".h", ".cc", ".py"))

    def fault(self, token):
        """What is wrong with a token of a page, or None."""
        path, _, name = token.partition(":")
        if name and not name.startswith(":") and path in self.files:
            words = set(re.findall(r"\w+", self.text.get(path, "")))
            missing = [w for w in re.findall(r"\w+", name) if w not in words]
            return f"{path} holds no {', '.join(missing)}" if missing else None
        if PATH.fullmatch(token) and not re.search(r"[<>*{}]|\bNAME", token):
            first = token.split("/")[0]
            if "/" in token.rstrip("/"):
                if (first in TOP or token.endswith(CODE)) and not self.has_path(token):
                    return "no such file or folder"
            elif token.endswith(CODE) and token not in self.base_names | self.library_headers:
                return "no such file"
            section, _, field = token.partition(".")
            if section in self.sections and re.fullmatch(r"\w+(\.\w+)?", field) and field not in RUN_FILES:
                if field not in self.sections[section]:
                    return "no such field in proto/config.proto"
        match = NAME.fullmatch(token)
        if match and sum(c.isupper() for c in token) > 1 and match.group(2) not in self.words:
            return "no such name in the sources"
        flag = re.match(r"(--[a-z][\w-]*)", token)
        if flag and flag.group(1) not in self.flags:
            return "no such flag"
        return None


def fields_of(proto):
    """{section of TrainConfig: {field: type}}."""
    messages = {}
    for name, body in re.findall(r"^message (\w+) \{\n(.*?)^\}", proto, re.M | re.S):
        messages[name] = {f: t for t, f in re.findall(r"(?:optional|repeated) (\w+) (\w+) = \d+", body)}
    return {f: Fields(messages, t) for f, t in messages.get("TrainConfig", {}).items()}


class Fields:
    """Whether a message has a field; of a dotted one, every part of it."""

    def __init__(self, messages, name):
        self.messages, self.name = messages, name

    def __contains__(self, field):
        head, _, tail = field.partition(".")
        fields = self.messages.get(self.name, {})
        return head in fields and (not tail or tail in Fields(self.messages, fields[head]))


def faults_of_page(tree, page, text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    faults = []
    for token in [] if page == HISTORY else re.findall(r"`([^`\n]+)`", text):
        why = tree.fault(token)
        if why:
            faults.append(f"{page}: `{token}`: {why}")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not tree.has_path(os.path.normpath(os.path.join(os.path.dirname(page), target))):
            faults.append(f"{page}: link to {target}: no such file or folder")
    return faults


def pages(files):
    names = ("README.md", HISTORY)
    return [f for f in files if f.endswith(".md") and (f.startswith("docs/") or os.path.basename(f) in names)]


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = tracked()
        cls.tree = Tree(cls.files, read)

    def test_what_pages_name_exists(self):
        found = pages(self.files)
        self.assertIn("docs/architecture.md", found)
        faults = [f for page in found for f in faults_of_page(self.tree, page, read(page))]
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_pages_that_sources_refer_to_exist(self):
        faults = [f"{path}: {page}" for path, text in self.tree.text.items()
                  for page in re.findall(r"(?<![\w/.])docs/\w+\.md", text)
                  if page not in self.files and not path.endswith(("docs_test.py", "build_identity_test.py"))]
        self.assertEqual(faults, [])

    def test_every_page_is_linked_from_the_readme(self):
        linked = set(re.findall(r"\]\((docs/\w+\.md)\)", read("README.md")))
        self.assertEqual(sorted(f for f in self.files if re.fullmatch(r"docs/\w+\.md", f) and f not in linked), [])

    def test_planted_mistakes_are_seen(self):
        files = ["core/base/a.h", "docs/x.md", "proto/config.proto", "launcher/f.cc"]
        text = {"core/base/a.h": "class UnitStore { void Publish(); static int kRowTile; };",
                "proto/config.proto": "message Deep {\n  optional int64 x = 1;\n}\n"
                                      "message TrainSection {\n  optional int64 steps = 1;\n  optional Deep d = 2;\n}\n"
                                      "message TrainConfig {\n  optional TrainSection train = 1;\n}\n",
                "launcher/f.cc": 'app.add_flag("--json")'}
        tree = Tree(files, text.get)
        good = ("core/base/a.h core/base/a core/base/ a.h core/base/a.h:Publish core/base/a.h:UnitStore::Publish "
                "UnitStore UnitStore::Publish kRowTile train.steps train.d.x core/NAME.h --json run.json runs/first "
                "steps")
        bad = ("core/base/b.h cor/base/a.h core/bas/ b.h core/base/a.h:Publsh UnitStor UnitStore::PublishAll kRowTiles "
               "train.step train.d.y --jsn")
        for token in good.split():
            self.assertEqual(faults_of_page(tree, "docs/x.md", f"`{token}`"), [])
        for token in bad.split():
            self.assertEqual(len(faults_of_page(tree, "docs/x.md", f"so `{token}`.")), 1, token)
        self.assertEqual(faults_of_page(tree, "docs/x.md", "[a](../core/base/a.h) [b](x.md#part) [c](https://d)"), [])
        self.assertEqual(len(faults_of_page(tree, "docs/x.md", "[a](../core/base/b.h) [b](y.md)")), 2)


class Mutants(unittest.TestCase):
    def test_the_page_lists_the_mutants_there_are(self):
        page = re.findall(r"^\| ([\w-]+) \| (?!what breaks)(?!---)", read("tests/mutants/README.md"), re.M)
        self.assertEqual(page, re.findall(r"^\[([\w-]+)\]$", read("tests/mutants/mutants.toml"), re.M))

    def test_every_mutant_breaks_a_line_and_names_a_test_that_is_there(self):
        sources = "".join(read(path) for path in tracked() if path.startswith("tests/") and path.endswith(CODE))
        for name, mutant in tomllib.loads(read("tests/mutants/mutants.toml")).items():
            with self.subTest(mutant=name):
                self.assertEqual(read(mutant["file"]).count(mutant["old"].strip("\n")), 1)
                for chosen in filter(None, re.split("[: ]", mutant["filter"])):
                    suite, test = re.fullmatch(r"(?:.*/)?\*?(\w+)\.(\w*)[*\w]*(?:/.*)?", chosen).groups()
                    there = re.search(rf"(TEST\w*\(|class ){suite}\b", sources) and \
                        re.search(rf"(TEST\w*\(\w+, |def ){test}", sources)
                    self.assertTrue(there, f"expected a test {chosen}, got none")


if __name__ == "__main__":
    unittest.main()
