"""Shows that each check of lint.py finds what it is for, and only that: a tree of good and of bad files is written and read."""
import os
import subprocess
import tempfile

import lint
import products

HEAD = "/* Owns nothing. */\n"
LONG_FUNCTION = "int mc_f(void);\nint mc_f(void)\n{\n" + "    ;\n" * 91 + "    return 0;\n}\n"
GOOD = {
    "core/base/good.h": HEAD + "int mc_good(void);\n",
    "core/os/good.c": HEAD + '#include "core/base/good.h"\n#include "mc_config.h"\n'
    '/* sleep(1) */ static const char *s = "poll(";\nint mc_good(void)\n{\n    return x->poll(l) + mc_poll(s) + y.select(1);\n}\n',
    "modules/event/poll/poll.c": HEAD + '#include "core/event/loop.h"\n#include "modules/event/poll/own.h"\n'
    "static int f(void)\n{\n    return poll(0, 0, 0);\n}\n",
    "modules/python/wsgi.c": HEAD + '#include "modules/python/own.h"\n',
    "core/base/README.md": "short\n" * 40,
    "tests/a/test_a.py": "",
    "tests/b/conftest.py": "",
    "tests/c/conftest.py": "",
    "tests/unit/base/test_x.c": '#include "x.h"\nint f(void) { return poll(0, 0, 0); }\n',
}
# path: (text, check that must find it, how often)
BAD = {
    "core/base/up.c": (HEAD + '#include "core/http/uri.h"\n', lint.check_layers, 1),
    "core/http/module.h": (HEAD + '#include "modules/event/poll/own.h"\n', lint.check_layers, 1),
    "core/http/relative.c": (HEAD + '#include "uri.h"\n', lint.check_layers, 1),
    "modules/handler/a/a.c": (HEAD + '#include "modules/handler/b/b.h"\n#include "modules/python/own.h"\n', lint.check_layers, 2),
    "core/other/x.c": (HEAD, lint.check_folders, 1),
    "core/server/waits.c": (HEAD + "int f(void)\n{\n    usleep(1);\n    return epoll_wait(1, 0, 0, 0) > poll(0, 0, 0);\n}\n", lint.check_waits, 3),
    "modules/python/sleeps.c": (HEAD + "int f(void)\n{\n    sleep(1);\n}\n", lint.check_waits, 1),
    "core/base/long.c": (HEAD + "\n" * 800, lint.check_files, 1),
    "core/base/function.c": (HEAD + LONG_FUNCTION, lint.check_functions, 1),
    "core/base/inside.c": (HEAD + "int f(void)\n{\n#ifdef A\n    a();\n#else\n    b();\n#endif\n}\n", lint.check_functions, 2),
    "core/base/nohead.c": ("int mc_x;\n", lint.check_heads, 1),
    "core/base/head.h": ("/*" + "\n" * 15 + "*/\n", lint.check_heads, 1),
    "core/base/typedef.h": (HEAD + "typedef struct a b;\n", lint.check_typedefs, 1),
    "modules/filter/x/README.md": ("long\n" * 41, lint.check_readmes, 1),
    "docs/place.md": ("see /wor" + "k/main\n", lint.check_names, 1),
    "core/os/later.c": (HEAD + "/* TO" + "DO */\n", lint.check_names, 1),
    "tests/b/test_a.py": ("", lint.check_basenames, 1),
    "core/base/big.c": (HEAD + "\n" * 501, lint.warn_sizes, 1),
    "core/base/deep.c": (HEAD + "int f(void)\n{" + "{" * 5 + "}" * 6 + "\n", lint.warn_sizes, 1),
    "core/event/x.c": (HEAD, lint.warn_readmes, 1),
}


def write(top, path, text):
    full = os.path.join(top, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(text)


def expect(what, found, count):
    if len(found) != count:
        raise SystemExit(f"lint cannot fail as it should: {what}: {count} findings expected, got {found}")


def test_sources():
    with tempfile.TemporaryDirectory() as top:
        for path, text in GOOD.items():
            write(top, path, text)
        for check in lint.CHECKS:
            expect(f"{check.__name__} on good files", list(check(list(lint.find_sources(top)))), 0)
        for path, (text, _, _) in BAD.items():
            write(top, path, text)
        sources = list(lint.find_sources(top))
        for path, (_, check, count) in BAD.items():
            folder = os.path.dirname(path)
            expect(f"{check.__name__} on {path}", [f for f in check(sources) if f[0] in (path, folder)], count)


def test_products():
    with tempfile.TemporaryDirectory() as top:
        objs = os.path.join(top, "objs")
        compiler = products.tool("CC", "cc")
        write(top, "core/base/bad.c", "int helper(void) { return 1; }\nint mc_good(void) { return 2; }\n")
        write(top, "core/base/bad.h", "struct a { uint8_t b; };\n")
        os.makedirs(os.path.join(objs, "core/base"))
        source, shared = os.path.join(top, "core/base/bad.c"), os.path.join(objs, products.EXTENSION)
        subprocess.run([*compiler, "-fPIC", "-c", "-o", os.path.join(objs, "core/base/bad.o"), source], check=True)
        subprocess.run([*compiler, "-fPIC", "-shared", "-Wl,-z,lazy,-z,norelro", "-o", shared, source], check=True)
        # In the object helper; in the extension helper and mc_good too many, PyInit_ too few.
        expect("check_exports", list(products.check_exports(top, objs)), 4)
        expect("check_linking", list(products.check_linking(top, objs)), 3)
        expect("check_headers", list(products.check_headers(top, objs)), 1)


def self_test():
    test_sources()
    test_products()
