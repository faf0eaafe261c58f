"""Checks of what was built: exported names, libraries, headers that compile alone. Used by lint.py."""
import concurrent.futures
import os
import re
import shlex
import subprocess

EXTENSION = "_monoceros.abi3.so"
EXTENSION_EXPORTS = {"PyInit__monoceros"}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tool(variable, default):
    return shlex.split(os.environ.get(variable) or default)


def symbols(path, *options):
    """(type, name) of each symbol that nm prints."""
    for line in output(*tool("NM", "nm"), *options, path).splitlines():
        words = line.split()
        if len(words) >= 2 and len(words[-2]) == 1:
            yield words[-2], words[-1]


def objects(objs):
    for folder in ("core", "modules"):
        for here, _, files in os.walk(os.path.join(objs, folder)):
            for name in sorted(files):
                if name.endswith(".o"):
                    yield os.path.join(here, name)


def own(name):
    """Instrumentation of a sanitizer adds names of its own to each object."""
    return not name.startswith(("__asan", "__odr_asan", "__ubsan", "__tsan", "__sanitizer"))


def program_exports(top):
    """Names that modules offer to shared libraries: {folder: names}, from their config files."""
    found = {}
    for here, _, files in os.walk(os.path.join(top, "modules")):
        if "config" in files:
            with open(os.path.join(here, "config"), encoding="utf-8") as f:
                words = re.findall(r'^ *program_exports="([^"]*)"', f.read(), re.M)
            if words:
                found[os.path.relpath(here, top)] = set(" ".join(words).replace("$program_exports", "").split())
    return found


def check_exports(top, objs):
    """Everything with linkage starts with mc_, except main, the one entry of the extension, and what a module's config tells."""
    told = program_exports(top)
    extension = os.path.join(objs, EXTENSION)
    found = False
    for path in objects(objs):
        if not os.path.exists(os.path.join(top, os.path.relpath(path, objs)[:-2] + ".c")):
            continue  # left by a source that is gone
        found = True
        allowed = {"main"} if path.endswith("core/process/main.o") else EXTENSION_EXPORTS if "/python/" in path else set()
        allowed |= told.get(os.path.dirname(os.path.relpath(path, objs)), set())
        for _, name in symbols(path, "-g", "--defined-only"):
            if own(name) and not name.startswith("mc_") and name not in allowed:
                yield path, 0, f"exports {name}"
    if not found:
        yield objs, 0, "holds no objects"
    program = os.path.join(objs, "monoceros")
    if os.path.exists(program):
        # Beside these a linker exports what shared libraries define too and want to share: data of the C library.
        offered = {name for kind, name in symbols(program, "-D", "--defined-only") if own(name) and kind == "T"}
        for name in sorted(offered - set().union(*told.values()) - {"_init", "_fini", "main"}):
            yield program, 0, f"exports {name}"
    if os.path.exists(extension):
        names = {name for _, name in symbols(extension, "-D", "--defined-only") if own(name)}
        for name in sorted(names ^ EXTENSION_EXPORTS):
            yield extension, 0, f"exports {name}" if name in names else f"does not export {name}"
        for kind, name in symbols(extension, "-D", "--undefined-only"):
            if kind == "U" and name.startswith("mc_"):
                yield extension, 0, f"{name} is used and nowhere defined"


def check_linking(top, objs):
    """No product is tied to one libpython, and both are hardened."""
    for name in ("monoceros", EXTENSION):
        path = os.path.join(objs, name)
        if not os.path.exists(path):
            if name == "monoceros":
                yield path, 0, "is missing"
            continue
        dynamic = output(*tool("READELF", "readelf"), "-dW", path)
        if "libpython" in dynamic:
            yield path, 0, "is linked with libpython"
        if "BIND_NOW" not in dynamic and "NOW" not in dynamic:
            yield path, 0, "is not linked with -z now"
        if "GNU_RELRO" not in output(*tool("READELF", "readelf"), "-lW", path):
            yield path, 0, "has no RELRO segment"


def check_headers(top, objs):
    """Each header of core compiles alone."""
    headers = []
    for here, _, files in os.walk(os.path.join(top, "core")):
        headers += [os.path.join(here, name) for name in sorted(files) if name.endswith(".h")]

    def compile_header(path):
        command = [*tool("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", f"-I{top}", f"-I{objs}", "-x", "c", path]
        return path, subprocess.run(command, capture_output=True, text=True)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for path, done in pool.map(compile_header, headers):
            if done.returncode:
                yield os.path.relpath(path, top), 1, "does not compile alone: " + (done.stderr.splitlines() or ["?"])[0]
