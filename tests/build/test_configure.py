"""./configure and make as a packager uses them: on copies of a small tree with the real configure, auto/ and Makefile.in."""
import os
import shutil
import subprocess

import pytest

TOP = os.environ.get("MONOCEROS_SRCDIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

MODULE = '#include "core/base/module.h"\nconst struct mc_module mc_module_{kind}_{name} = {{.name = "{name}"}};\n'
MAIN = r"""
#include <stdio.h>
#include "core/base/module.h"
#include "mc_config.h"
int main(void)
{
    for (int i = 0; mc_modules[i]; i++)
        printf("built %s\n", mc_modules[i]->name);
    for (int i = 0; mc_modules_absent[i].name; i++)
        printf("absent %s\n", mc_modules_absent[i].flag);
    printf("args %s\nconf %s\n", mc_configure_args, MC_CONF_PATH);
    return 0;
}
"""
# In place of the one that knows all tables.
MANUAL = "#include <stdio.h>\nint main(void)\n{\n    for (int c = getchar(); c != EOF; c = getchar())\n        putchar(c);\n    return 0;\n}\n"


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def add_module(folder, kind, name, default="on", extra=""):
    write(f"{folder}/config", f"name={name}\nkind={kind}\ndefault={default}\ndoc='the {name} {kind}'\nsources={name}.c\n{extra}")
    write(f"{folder}/{name}.c", MODULE.format(kind=kind, name=name))


class Tree:
    def __init__(self, top):
        self.top = f"{top}/source"
        foreign = ("CC", "CFLAGS", "LDFLAGS", "CPPFLAGS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
        self.env = {k: v for k, v in os.environ.items() if k not in foreign}
        shutil.copytree(f"{TOP}/auto", f"{self.top}/auto")
        os.makedirs(f"{self.top}/core/base")
        for name in ("configure", "Makefile.in", "core/base/base.h", "core/base/module.h"):
            shutil.copy(f"{TOP}/{name}", f"{self.top}/{name}")
        write(f"{self.top}/core/process/main.c", MAIN)
        write(f"{self.top}/conf/monoceros.conf", "# default\n")
        write(f"{self.top}/auto/manual.c", MANUAL)
        for name in ("docs/monoceros.8.in", "docs/monoceros.conf.5.in", "docs/settings.md.in", "conf/monoceros.bash.in", "docs/gunicorn.md"):
            write(f"{self.top}/{name}", "text\n")
        self.add("event", "poll")
        self.add("event", "epoll")
        self.add("worker", "sync")
        self.add("worker", "epoll", default="off")
        self.add("handler", "respond")

    def add(self, kind, name, **options):
        add_module(f"{self.top}/modules/{kind}/{name}", kind, name, **options)

    def run(self, *command, cwd=None, ok=True, **env):
        done = subprocess.run(command, cwd=cwd or self.top, env={**self.env, **env}, capture_output=True, text=True, timeout=100)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def configure(self, *options, cwd=None, **kwargs):
        return self.run(f"{self.top}/configure", *options, cwd=cwd, **kwargs)

    def build(self, cwd=None):
        self.run("make", "-s", cwd=cwd)
        return self.run(f"{cwd or self.top}/objs/monoceros").splitlines()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_help_is_made_from_the_modules_and_writes_nothing(tree):
    text = tree.configure("--help")
    for line in ("*event-epoll ", " worker-epoll ", "*sync ", "*respond ", "the respond handler"):
        assert line in text
    assert not os.path.exists(f"{tree.top}/objs")


@pytest.mark.parametrize(
    "option, message",
    [
        ("--with-nothing", 'unknown option "--with-nothing"; see ./configure --help'),
        ("--without-nothing", 'unknown option "--without-nothing"; see ./configure --help'),
        ("--with-nothing=1", 'unknown option "--with-nothing=1"; see ./configure --help'),
        ("--nothing", 'unknown option "--nothing"'),
        ("--nothing=1", 'unknown option "--nothing"'),
        ("nothing", 'unknown option "nothing"'),
        ("--with-worker=sync,gthread", 'there is no worker "gthread"'),
        ("--without-epoll", "ambiguous: use --without-event-epoll or --without-worker-epoll"),
        ("--without-sync", "no worker module is left"),
        ("--with-sanitize=memory", 'not "memory"'),
        ("--with-sanitize=address,thread", "exclude each other"),
        ("--with-pgo --with-debug", "not with --with-debug"),
        ("--with-pgo --with-sanitize=thread", "not with --with-debug or --with-sanitize"),
        ("--prefix=usr", "--prefix takes an absolute path"),
        ("--add-module=nowhere", 'there is no "nowhere/config"'),
        ("--install-deps=all", "build or dev"),
    ],
)
def test_wrong_options_are_named(tree, option, message):
    assert message in tree.configure(*option.split(" "), ok=False)


def test_options_of_packagers_are_taken(tree):
    text = tree.configure(
        "--prefix=/usr", "--libdir=${prefix}/lib/x", "--sysconfdir=/etc", "--runstatedir=/run", "--disable-silent-rules", "--build=x86_64-linux-gnu"
    )
    assert "warning: --disable-silent-rules" in text and "warning: --build=x86_64-linux-gnu" in text
    assert "/usr/lib/x" in open(f"{tree.top}/objs/mc_config.h").read()
    assert "conf /etc/monoceros/monoceros.conf" in tree.build()


def test_modules_are_chosen(tree):
    tree.configure("--with-event=poll", "--without-respond", "--with-worker-epoll")
    assert tree.build() == [
        "built poll",
        "built epoll",
        "built sync",
        "absent --with-event-epoll",
        "absent --with-respond",
        "args --with-event=poll --without-respond --with-worker-epoll",
        "conf /usr/local/etc/monoceros/monoceros.conf",
    ]


def test_arguments_are_kept_as_given(tree):
    tree.configure("CFLAGS=-O1 -DMC_X=\\\"b\\\"")
    assert "args 'CFLAGS=-O1 -DMC_X=\\\"b\\\"'" in tree.build()


def test_build_outside_of_the_sources_with_an_outside_module(tree, tmp_path):
    add_module(f"{tmp_path}/mine", "filter", "mine", default="off")
    os.makedirs(f"{tmp_path}/build")
    before = tree.run("find", ".")
    tree.configure("--add-module=../mine", cwd=f"{tmp_path}/build")
    assert "built mine" in tree.build(f"{tmp_path}/build")
    assert tree.run("find", ".") == before


def test_the_place_of_a_build_does_not_show(tree, tmp_path):
    os.makedirs(f"{tmp_path}/build")
    for place in (tree.top, f"{tmp_path}/build"):
        tree.configure(cwd=place)
        tree.build(place)
    with open(f"{tree.top}/objs/monoceros", "rb") as one, open(f"{tmp_path}/build/objs/monoceros", "rb") as other:
        assert one.read() == other.read()


# Stands for the load: what main() runs through is what it counts.
TRAIN = "import subprocess, sys\nprint('TRAINED', *sys.argv[2:])\nsubprocess.run([sys.argv[1]], check=True, stdout=subprocess.DEVNULL)\n"


@pytest.mark.parametrize("options", [["--with-lto"], ["--with-pgo"], ["--with-lto", "--with-pgo"]], ids=" ".join)
def test_optimised_builds(tree, options):
    """Under gcc, which is the compiler for profiles; the second build finds them by the names of its own objects."""
    write(f"{tree.top}/auto/train.py", TRAIN)
    tree.configure(*options, CC="gcc")
    text = tree.run("make", "V=1")
    usual = tree.run(f"{tree.top}/objs/monoceros").splitlines()
    assert "built epoll" in usual and "built sync" in usual
    assert ("TRAINED sync ," in text) == ("--with-pgo" in options)
    assert ("-flto" in text) == ("--with-lto" in options)
    tree.run("make", "-q", "objs/monoceros")
    assert tree.top.encode() not in open(f"{tree.top}/objs/monoceros", "rb").read()
    if "--with-pgo" in options:
        use = text.split(" -fprofile-use=")[1].partition(" -Wno-missing-profile")[0]
        os.remove(f"{tree.top}/objs/core/process/main.o")
        tree.run("make", "objs/core/process/main.o", f"USE_PROFILE=-fprofile-use={use} -Werror=missing-profile")


def test_a_missing_library_is_named_with_its_package(tree):
    write(f"{tree.top}/cc", '#!/bin/sh\ncase "$*" in *-lconfuse*) echo no confuse >&2; exit 1 ;; esac\nexec gcc "$@"\n')
    os.chmod(f"{tree.top}/cc", 0o755)
    text = tree.configure(f"CC={tree.top}/cc", ok=False)
    assert "error: library libconfuse is missing (Debian: libconfuse-dev)" in text
    log = open(f"{tree.top}/objs/config.log").read()
    assert "no confuse" in log and "| #include <confuse.h>" in log


def test_only_what_changed_is_built_again(tree):
    write(f"{tree.top}/core/base/own.h", "")
    write(f"{tree.top}/core/base/own.c", '#include "core/base/own.h"\nextern int mc_own;\nint mc_own;\n')
    tree.configure()
    tree.run("make")
    assert "Nothing to be done" in tree.run("make")
    tree.run("touch", "-d", "+2 seconds", "core/base/own.h")
    built = [line.split()[1] for line in tree.run("make").splitlines() if line.startswith("  CC")]
    assert built == ["core/base/own.c"]


def test_a_new_module_configures_again_with_the_same_options(tree):
    tree.configure("--without-respond", CFLAGS="-O1")
    tree.build()
    tree.add("filter", "late")
    tree.run("touch", "-d", "+2 seconds", "modules/filter/late/config")
    lines = tree.build()
    assert "built late" in lines and "args --without-respond" in lines
    assert "CFLAGS = -O1\n" in open(f"{tree.top}/objs/config.mk").read()


def test_units_are_installed_where_asked(tree, tmp_path):
    for name in ("monoceros.service", "monoceros.socket"):
        write(f"{tree.top}/conf/{name}", "ExecStart=@bindir@/monoceros -c @sysconfdir@/x\n")
    tree.configure("--prefix=/usr", "--sysconfdir=/etc", "--systemd-unit-dir=/lib/systemd")
    root = f"{tmp_path}/root"
    tree.run("make", "install", f"DESTDIR={root}")
    for name in ("monoceros.service", "monoceros.socket"):
        assert open(f"{root}/lib/systemd/{name}").read() == "ExecStart=/usr/bin/monoceros -c /etc/x\n"
    tree.run("make", "uninstall", f"DESTDIR={root}")
    assert not os.listdir(f"{root}/lib/systemd")


def test_install_keeps_a_config_and_uninstall_one_that_was_changed(tree, tmp_path):
    tree.configure("--prefix=/usr", "--sysconfdir=/etc")
    root = f"{tmp_path}/root"
    tree.run("make", "install", f"DESTDIR={root}")
    tree.run("make", "uninstall", f"DESTDIR={root}")
    assert not [files for _, _, files in os.walk(root) if files]
    write(f"{root}/etc/monoceros/monoceros.conf", "# mine\n")
    tree.run("make", "install", f"DESTDIR={root}")
    assert os.access(f"{root}/usr/bin/monoceros", os.X_OK)
    for name in ("man/man8/monoceros.8", "man/man5/monoceros.conf.5", "doc/monoceros/settings.md", "bash-completion/completions/monoceros"):
        assert open(f"{root}/usr/share/{name}").read() == "text\n"
    assert open(f"{root}/etc/monoceros/monoceros.conf").read() == "# mine\n"
    assert open(f"{root}/etc/monoceros/monoceros.conf.default").read() == "# default\n"
    tree.run("make", "uninstall", f"DESTDIR={root}")
    assert [files for _, _, files in os.walk(root) if files] == [["monoceros.conf"]]
