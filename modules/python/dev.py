"""For modules/python/dev.c: which files a process has loaded, and the page of an app that cannot be imported."""
import html
import importlib
import os
import sys
import sysconfig
import traceback

paths = sysconfig.get_paths()
library = tuple({paths[key] + os.sep for key in ('stdlib', 'platstdlib')})


def ours(path):
    return os.path.isabs(path) and (not path.startswith(library) or 'site-packages' in path or 'dist-packages' in path)


def pack(paths):
    paths = {path[:-1] if path.endswith('.pyc') else path for path in map(os.path.abspath, paths)}
    return b''.join(os.fsencode(path) + b'\0' for path in sorted(paths) if ours(path))


def modules():
    for module in list(sys.modules.values()):
        path = getattr(module, '__dict__', {}).get('__file__')  # getattr() of its own may import more
        if isinstance(path, str):
            yield path


def loaded():
    return pack(modules())


def raised(error, seen):
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, SyntaxError) and error.filename:
            yield error.filename
        for frame, _ in traceback.walk_tb(error.__traceback__):
            yield frame.f_code.co_filename
        yield from raised(error.__cause__, seen)
        error = error.__context__


def shown(error):  # without the way of the import
    whole = told = traceback.TracebackException(type(error), error, error.__traceback__)
    while told is not None:
        told.stack[:] = [f for f in told.stack if not f.filename.startswith('<') and f.filename != importlib.__file__]
        told = told.__cause__ or told.__context__
    return ''.join(whole.format())


def failed(error, plain):  # the page, and the files
    places = [path for path in sys.path if path and ours(path) and 'site-packages' not in path and 'dist-packages' not in path]
    places = b''.join(os.fsencode(os.path.join(path, '')) + b'\0' for path in {os.getcwd(), *places} if os.path.isdir(path))
    files = [path for path in (*modules(), *raised(error, set())) if not path.startswith('<')]
    what = str(error) if plain else traceback.format_exception_only(error)[-1].strip()
    text = '' if plain else '<pre>' + html.escape(shown(error)) + '</pre>'
    page = PAGE % (html.escape(what), text)
    return page.encode('utf-8', 'backslashreplace'), pack(files) + places


PAGE = '''<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>The app cannot be loaded</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.4em;color:#a00}pre{background:#f4f4f4;padding:1em;overflow:auto;font-size:14px}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}h1{color:#f77}pre{background:#262626}}</style></head>
<body><h1>%s</h1>
%s
<p>The app cannot be loaded. It is tried again as soon as one of its files changes. This page is shown because <code>reload</code> is on;
it is for development only.</p></body></html>
'''
