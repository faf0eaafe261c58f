#!/usr/bin/env python3
"""Checks the rules of the code that a compiler does not: lint.py [--self-test] SOURCES [OBJS].

A check is a generator of (path, line, message); one in WARNINGS never fails. What a rule means stands in core/README.md.
NM, READELF and CC come from the environment. Without OBJS only the sources are checked.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from products import check_exports, check_headers, check_linking  # noqa: E402

LAYERS = ["base", "os", "event", "config", "http", "server", "process"]
FILE_LINES, FILE_LINES_GOOD = 800, 500
FUNCTION_LINES, FUNCTION_LINES_GOOD = 90, 60
HEAD_LINES = 15
README_LINES = 40
NESTING = 5  # the body and four levels in it

WAITS = re.compile(
    r"(?<![\w>.])(p?poll|p?select|epoll_p?wait2?|u?sleep|(?:clock_)?nanosleep|pthread_cond_(?:timed)?wait|cnd_(?:timed)?wait"
    r"|sem_(?:timed)?wait|sigwait(?:info)?|sigtimedwait|pause)\s*\("
)
MAY_WAIT = ("modules/event/", "modules/worker/", "core/event/")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
# Written in parts, so that this file does not find itself.
NAMES = re.compile("|".join(["/wor" "k/", "/roo" "t/", "/far" "m", r"\.libr" "ary/", "far" "m-", "sub" "agent", "/tm" "p/h/",
                             r"\bTO" r"DO\b", r"\bFIX" r"ME\b"]))
NOT_C = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


class Source:
    """One text file: path under the top, its text, and for C the text with comments and literals blanked out."""

    def __init__(self, top, path):
        self.path = path
        with open(os.path.join(top, path), encoding="utf-8", errors="replace") as f:
            self.text = f.read()
        self.lines = self.text.count("\n")
        self.is_c = path.endswith((".c", ".h"))
        self.in_tree = path.startswith(("core/", "modules/"))
        self.code = NOT_C.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), self.text) if self.is_c else ""

    def line(self, offset):
        return self.text.count("\n", 0, offset) + 1


def functions(source):
    """Each function body: (line of its brace, lines, deepest nesting, its code)."""
    # The other branch of an #if may open a brace again: directives are blank here.
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: re.sub(r"[^\n]", " ", m[0]), source.code, flags=re.M)
    depth, start, deepest = 0, None, 0
    for m in re.finditer(r"[{}]", code):
        if m[0] == "{":
            if depth == 0:
                before = code[: m.start()].rstrip()
                start = m.start() if before.endswith(")") else None
                deepest = 0
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
            if depth == 0 and start is not None:
                end = m.start()
                yield source.line(start), code.count("\n", start, end), deepest, source.code[start:end]
                start = None


def check_layers(sources):
    for s in sources:
        if not (s.is_c and s.in_tree):
            continue
        parts = s.path.split("/")
        for m in INCLUDE.finditer(s.text):
            target, line = m[1], s.line(m.start())
            to = target.split("/")
            if target == "mc_config.h":
                continue
            if to[0] not in ("core", "modules"):
                yield s.path, line, f'include "{target}" is not written from the top of the tree'
            elif parts[0] == "core":
                if to[0] == "modules":
                    yield s.path, line, f"core includes a module: {target}"
                elif not {to[1], parts[1]} <= set(LAYERS) or LAYERS.index(to[1]) > LAYERS.index(parts[1]):
                    yield s.path, line, f"core/{parts[1]} includes core/{to[1]}, which stands above it"
            elif to[0] == "modules":
                own = parts[:2] if parts[1] == "python" else parts[:3]
                if to[: len(own)] != own:
                    yield s.path, line, f"a module includes another module: {target}"


def check_folders(sources):
    for s in sources:
        parts = s.path.split("/")
        if s.is_c and parts[0] == "core" and (len(parts) != 3 or parts[1] not in LAYERS):
            yield s.path, 1, f"core has only the folders {', '.join(LAYERS)}"


def check_waits(sources):
    for s in sources:
        if not s.in_tree or s.path.startswith(MAY_WAIT):
            continue
        for m in WAITS.finditer(s.code):
            yield s.path, s.line(m.start()), f"{m[1]}() waits; only modules/event, modules/worker and core/event may"


def check_files(sources):
    for s in sources:
        if s.path.endswith((".c", ".h", ".py")) and s.lines > FILE_LINES:
            yield s.path, s.lines, f"{s.lines} lines; at most {FILE_LINES}"


def check_functions(sources):
    for s in sources:
        for line, lines, _, body in functions(s) if s.is_c and s.in_tree else ():
            if lines > FUNCTION_LINES:
                yield s.path, line, f"a function of {lines} lines; at most {FUNCTION_LINES}"
            for m in re.finditer(r"^[ \t]*#[ \t]*(if|ifdef|ifndef|else|elif)\b", body, re.M):
                yield s.path, line + body.count("\n", 0, m.start()), f"#{m[1]} inside a function"


def check_heads(sources):
    for s in sources:
        if not (s.is_c and s.in_tree):
            continue
        m = re.match(r"/\*.*?\*/", s.text, re.S)
        if not m:
            yield s.path, 1, "no head comment that says what the file owns"
        elif m[0].count("\n") + 1 > HEAD_LINES:
            yield s.path, 1, f"a head comment of {m[0].count(chr(10)) + 1} lines; at most {HEAD_LINES}"


def check_typedefs(sources):
    for s in sources:
        for m in re.finditer(r"\btypedef\s+(struct|union)\b", s.code if s.in_tree else ""):
            yield s.path, s.line(m.start()), f"typedef {m[1]}"


def check_readmes(sources):
    for s in sources:
        if s.in_tree and s.path.endswith("/README.md") and s.path != "core/README.md" and s.lines > README_LINES:
            yield s.path, s.lines, f"{s.lines} lines; at most {README_LINES}"


def check_names(sources):
    for s in sources:
        for m in NAMES.finditer(s.text):
            yield s.path, s.line(m.start()), f'"{m[0]}" names a machine, a tool or unfinished work'


def warn_sizes(sources):
    for s in sources:
        if s.in_tree and s.is_c and FILE_LINES_GOOD < s.lines <= FILE_LINES:
            yield s.path, s.lines, f"{s.lines} lines; good is up to {FILE_LINES_GOOD}"
        for line, lines, deepest, _ in functions(s) if s.is_c and s.in_tree else ():
            if FUNCTION_LINES_GOOD < lines <= FUNCTION_LINES:
                yield s.path, line, f"a function of {lines} lines; good is up to {FUNCTION_LINES_GOOD}"
            if deepest > NESTING:
                yield s.path, line, f"a function with {deepest - 1} levels of nesting; good is up to {NESTING - 1}"


def warn_readmes(sources):
    have = {s.path for s in sources}
    folders = {os.path.dirname(s.path) for s in sources if s.in_tree and (s.is_c or s.path.endswith("/config"))}
    for folder in sorted(folders):
        if folder.count("/") <= 2 and not folder.startswith("modules/python/") and f"{folder}/README.md" not in have:
            yield folder, 1, "no README.md"


def check_basenames(sources):
    """Two test files of one name in two folders: pytest would take the second for the first and end its collection."""
    first = {}
    for s in sources:
        name = os.path.basename(s.path)
        if re.fullmatch(r"test_.*\.py", name) and first.setdefault(name, s.path) != s.path:
            yield s.path, 1, f"has the name of {first[name]}"


CHECKS = [check_layers, check_folders, check_waits, check_files, check_functions, check_heads, check_typedefs, check_readmes, check_names,
          check_basenames]
WARNINGS = [warn_sizes, warn_readmes]
PRODUCT_CHECKS = [check_exports, check_linking, check_headers]


def find_sources(top):
    """Every text file but what is made by a build or by git."""
    for folder, folders, files in os.walk(top):
        here = os.path.relpath(folder, top)
        folders[:] = sorted(f for f in folders if f not in (".git", "__pycache__", "corpus") and not (here == "." and f == "objs"))
        for name in sorted(files):
            path = os.path.normpath(os.path.join(here, name))
            if not name.endswith((".pyc", ".gz")) and path not in ("Makefile", ".git"):
                yield Source(top, path)


def report(check, findings, word):
    for path, line, message in findings:
        print(f"{path}:{line}: {word}{check.__name__.partition('_')[2]}: {message}")
    return bool(findings)


def main(arguments):
    if arguments[:1] == ["--self-test"]:
        from selftest import self_test

        self_test()
        arguments = arguments[1:]
    top, objs = arguments[0], arguments[1] if len(arguments) > 1 else None
    sources = list(find_sources(top))
    for check in WARNINGS:
        report(check, list(check(sources)), "warning: ")
    failed = [report(check, list(check(sources)), "") for check in CHECKS]
    if objs:
        failed += [report(check, list(check(top, objs)), "") for check in PRODUCT_CHECKS]
    print(f"lint: {len(failed) - sum(failed)} passed, {sum(failed)} failed")
    return 1 if any(failed) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
