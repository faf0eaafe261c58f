"""Reads a gunicorn.conf.py. The build embeds this text (auto/embed); core/config/gunicorn.c runs it in a short-lived child of the user's
interpreter, and the zygote uses read() and hooks() of it to have the hooks themselves.

As a program: arguments LOCATION NAME [WORD...]. LOCATION is PATH or python:MODULE, NAME how messages call it, the words become sys.argv.
What it finds goes to descriptor 3, as texts that end with NUL:
    set NAME LINE COUNT WORD...     one setting, in the words that the command line takes; LINE 0: not known
    hook NAME LINE                  a hook, or a value that is not words: it is used where the file is evaluated again
    fail LINE TEXT TRACEBACK        the file is wrong
    end
"""

import sys

# What each name of Gunicorn's takes. All other names of the file are its own affair.
PLAIN = """
    wsgi_app backlog workers threads worker_connections max_requests max_requests_jitter timeout graceful_timeout keepalive
    limit_request_line limit_request_fields limit_request_field_size reload reload_engine spew check_config print_config preload_app
    sendfile reuse_port chdir daemon pidfile worker_tmp_dir user group umask initgroups tmp_upload_dir accesslog
    disable_redirect_access_to_syslog access_log_format errorlog loglevel capture_output logconfig logconfig_json syslog_addr syslog
    syslog_prefix syslog_facility enable_stdio_inheritance statsd_host dogstatsd_tags statsd_prefix enable_backlog_metric proc_name
    default_proc_name pythonpath paste protocol keyfile certfile cert_reqs ca_certs ciphers http2_max_concurrent_streams
    http2_initial_window_size http2_max_frame_size http2_max_header_list_size permit_obsolete_folding strip_header_spaces
    permit_unconventional_http_method permit_unconventional_http_version casefold_http_method header_map asgi_loop asgi_lifespan
    asgi_disconnect_grace_period http_parser root_path dirty_workers dirty_timeout dirty_threads dirty_graceful_timeout control_socket
    control_socket_mode control_socket_disable suppress_ragged_eofs do_handshake_on_connect ssl_version websocket_max_message_size
    http2_cleartext
""".split()
LISTS = """
    bind raw_env reload_extra_files raw_paste_global_conf dirty_apps forwarded_allow_ips proxy_allow_ips uwsgi_allow_ips forwarder_headers
    http_protocols
""".split()
CLASSES = ["worker_class", "logger_class"]
# Hooks, and how many arguments each takes; -1: any number that makes sense.
HOOKS = {
    "on_starting": 1, "on_reload": 1, "when_ready": 1, "pre_fork": 2, "post_fork": 2, "post_worker_init": 1, "worker_int": 1,
    "worker_abort": 1, "pre_exec": 1, "pre_request": 2, "post_request": -1, "child_exit": 2, "worker_exit": 2, "nworkers_changed": 3,
    "on_exit": 1,
}
# Those that have no place to be called.
ELSEWHERE = ["ssl_context", "on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit"]


class Wrong(Exception):
    """A value that is wrong: the name and what to say of it."""


def read(location):
    """The names of the file or module, as Gunicorn makes them."""
    import importlib.util
    import os
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    if location.startswith("python:"):
        return vars(importlib.import_module(location[len("python:"):]))
    spec = importlib.util.spec_from_file_location("__config__", location)
    module = importlib.util.module_from_spec(spec)
    sys.modules["__config__"] = module
    spec.loader.exec_module(module)
    return vars(module)


def arity(function):
    import inspect
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return -1
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return -1
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)


def hook(name, value):
    """The function of a hook: itself, or what 'module.function' names."""
    if isinstance(value, str):
        import importlib
        module, dot, attribute = value.rpartition(".")
        if not dot:
            raise Wrong(name, "expected a function or 'module.function', not %r" % value)
        try:
            value = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise Wrong(name, str(error))
    if not callable(value):
        raise Wrong(name, "expected a function, not %r" % (value,))
    wanted, got = HOOKS[name], arity(value)
    if wanted >= 0 and got >= 0 and got != wanted:
        raise Wrong(name, "expected a function of %d argument%s, not of %d" % (wanted, "s" * (wanted > 1), got))
    if name == "post_request" and got in (2, 3):
        full = value
        value = lambda *words: full(*words[:got])  # noqa: E731
    elif name == "post_request" and got not in (4, -1):
        raise Wrong(name, "expected a function of 4 arguments, not of %d" % got)
    return value


def hooks(names):
    """The hooks among the names of a file."""
    return {name: hook(name, names[name]) for name in HOOKS if names.get(name) is not None}


def word(name, value):
    """A value as the command line would have it."""
    import numbers
    import os
    if isinstance(value, bool):
        if name == "proxy_protocol":
            return "auto" if value else "off"
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    text = str(value).strip()
    if "\0" in text:
        raise Wrong(name, "expected a text without NUL")
    return text


def words(name, value):
    """The words of a setting, or None when there is nothing to say."""
    if value is None:
        return None
    if name in LISTS:
        if isinstance(value, (str, bytes)):
            return [word(name, value)]
        try:
            return [word(name, item) for item in value]
        except TypeError:
            raise Wrong(name, "expected a list, not %r" % (value,))
    if name == "secure_scheme_headers":
        if not isinstance(value, dict):
            raise Wrong(name, "expected a dictionary, not %r" % (value,))
        return ["%s: %s" % item for item in value.items()]
    if name in CLASSES:
        if not isinstance(value, type) and callable(value):
            value = value()
        if isinstance(value, type):
            return [value.__module__ + "." + value.__qualname__]
    if name in ELSEWHERE and callable(value):
        return [getattr(value, "__name__", "a function")]
    if isinstance(value, (list, tuple, set, dict)):
        raise Wrong(name, "expected one value, not %r" % (value,))
    return [word(name, value)]


def lines(text):
    """Where each name got its value last, outside of functions and classes."""
    import ast
    found = {}

    def note(target, line):
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                found[node.id] = line

    def look(body):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found[node.name] = node.lineno
                continue
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    note(target, node.lineno)
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
                note(node.target, node.lineno)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    found[alias.asname or alias.name] = node.lineno
            for field in ("body", "orelse", "finalbody"):
                look(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                look(handler.body)

    look(ast.parse(text).body)
    return found


def failure(error, path):
    """Line in the file, one line of text, and the traceback without what is ours."""
    import traceback
    tb, line = error.__traceback__, 0
    while tb and tb.tb_frame.f_code.co_filename != path and tb.tb_next:
        tb = tb.tb_next
    inner = tb
    while inner:
        if inner.tb_frame.f_code.co_filename == path:
            line = inner.tb_lineno
        inner = inner.tb_next
    text = traceback.format_exception_only(type(error), error)[-1].strip()
    own = isinstance(error, SyntaxError) and error.filename == path
    if own:
        line = error.lineno or 0
    elif line == 0 and isinstance(error, SyntaxError) and error.filename:
        text = "%s:%s: %s" % (error.filename, error.lineno, text)
    return line, text, "".join(traceback.format_exception(type(error), error, tb if line and not own else None))


class Report:
    """What goes to the parent."""

    def __init__(self):
        self.data = []

    def add(self, *texts):
        for text in texts:
            self.data.append(str(text).replace("\0", "\\0").encode("utf-8", "surrogateescape"))

    def send(self):
        import os
        data = b"".join(text + b"\0" for text in self.data)
        while data:
            data = data[os.write(3, data):]


def describe(report, names, at):
    """Each of Gunicorn's names that the file has given a value."""
    for name in PLAIN + LISTS + CLASSES + ELSEWHERE + ["secure_scheme_headers", "proxy_protocol"]:
        found = words(name, names.get(name))
        if found is not None:
            report.add("set", name, at.get(name, 0), len(found), *found)
    for name in hooks(names):
        report.add("hook", name, at.get(name, 0))
    value = names.get("logconfig_dict")
    if value:
        import json
        try:
            report.add("set", "logconfig_dict", at.get("logconfig_dict", 0), 1, json.dumps(value))
        except (TypeError, ValueError):
            report.add("hook", "logconfig_dict", at.get("logconfig_dict", 0))


def main(location, name, *arguments):
    import os
    report, at, path = Report(), {}, location
    os.set_inheritable(3, False)
    sys.argv = ["monoceros", *arguments]
    sys.dont_write_bytecode = True
    if sys.path and sys.path[0] == "":
        del sys.path[0]
    try:
        if location.startswith("python:"):
            import importlib.util
            sys.path.insert(0, os.getcwd())
            spec = importlib.util.find_spec(location[len("python:"):])
            path = spec and spec.origin or path
        names = read(location)
        path = names.get("__file__") or path
        try:
            with open(path, "rb") as file:
                at = lines(file.read())
        except (OSError, SyntaxError, ValueError):
            pass
        describe(report, names, at)
        report.add("end")
    except Wrong as error:
        report.data = []
        report.add("fail", at.get(error.args[0], 0), "%s: %s" % error.args, "")
    except BaseException as error:
        report.data = []
        report.add("fail", *failure(error, path))
    report.send()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(0)  # threads that the file has started must not keep us


if __name__ == "__main__":
    main(*sys.argv[1:])
