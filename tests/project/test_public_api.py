"""The names that users may build on, and the code that the package must not contain."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wsgi_session
import wsgi_session.stores
import wsgi_session.testing

PACKAGE = Path(wsgi_session.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCES}

# The contract: section by section.
CONTRACT = {
    "the middleware": {"SessionMiddleware"},
    "the session": {"Session", "Confirmation"},
    "the administrator's view": {"SessionInfo"},
    "helpers": {
        "get_session",
        "user_or_none",
        "user_email_or_none",
        "redirect_if_anonymous",
        "login",
        "logout",
        "next_url",
        "check_csrf",
        "protect_from_csrf",
        "typed",
        "begin_transaction",
        "end_transaction",
        "confirm",
        "redirect_unless_fresh",
        "require_login",
        "describe_device",
        "set_provider_session",
        "session_info",
    },
    "errors": {
        "SessionError",
        "ConfigError",
        "SessionMissing",
        "SessionGone",
        "StoreUnavailable",
        "SessionTooLarge",
        "UnsupportedValue",
        "HeadersAlreadySent",
        "Unsupported",
        "KeyExists",
    },
}
SESSION_MEMBERS = {
    "is_new",
    "state",
    "created",
    "expires",
    "handle",
    "owner",
    "confirmed",
    "rotate",
    "destroy",
    "reload",
    "atomic",
    "flash",
    "flashes",
    "csrf_token",
    "no_touch",
    "copy",
}
MIDDLEWARE_MEMBERS = {"from_config", "from_environ", "close"}
# What stores may offer: documented on the protocols.
OPTIONAL = {"sweep", "of_owner", "count"}
SESSIONS_MEMBERS = {
    "tenant",
    "of",
    "all",
    "revoke",
    "revoke_all",
    "revoke_everyone",
    "revoke_provider_session",
    "update",
    "sweep",
    "count",
}


def nodes(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield f"{name}:{getattr(node, 'lineno', 0)}", node


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


# What there is.


def test_all_is_literally_what_the_contract_names() -> None:
    assert set(wsgi_session.__all__) == set().union(*CONTRACT.values())
    assert list(wsgi_session.__all__) == sorted(wsgi_session.__all__)
    for name in wsgi_session.__all__:
        assert getattr(wsgi_session, name, None) is not None, name


def test_nothing_else_is_in_the_namespace_but_the_packages_own_modules() -> None:
    public = {name for name in vars(wsgi_session) if not name.startswith("_")} - set(wsgi_session.__all__)
    modules = {module.name for module in pkgutil.iter_modules(wsgi_session.__path__)}
    assert public <= modules, public - modules


@pytest.mark.parametrize(
    ("owner", "members"),
    [
        (wsgi_session.Session, SESSION_MEMBERS),
        (wsgi_session.SessionMiddleware, MIDDLEWARE_MEMBERS),
        (wsgi_session.admin.Sessions, SESSIONS_MEMBERS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_member_is_there_and_no_other_is_public(owner: type, members: set[str]) -> None:
    inherited = set(dir(MutableMapping))
    assert {name for name in dir(owner) if not name.startswith("_")} - inherited == members - inherited


def test_every_public_name_has_a_docstring_and_types() -> None:
    bare: list[str] = []
    for module in (wsgi_session, wsgi_session.testing):
        for name in module.__all__:
            bare += undocumented(name, getattr(module, name))
    for name, thing in vars(wsgi_session.stores).items():
        if getattr(thing, "__module__", "").startswith("wsgi_session.stores") and not name.startswith("_"):
            bare += undocumented(name, thing)
    assert bare == []


def undocumented(name: str, thing: Any) -> list[str]:
    bare = [] if (thing.__doc__ or "").strip() else [name]
    if inspect.isfunction(thing):
        typed = thing.__annotations__
        bare += [f"{name}({one})" for one in [*inspect.signature(thing).parameters, "return"] if one not in typed]
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if member.startswith(("_", "test_")) or hasattr(dict, member):
                continue
            if not (callable(value) or isinstance(value, property)) or member in OPTIONAL:
                continue
            if not inspect.getdoc(getattr(thing, member)):
                bare.append(f"{name}.{member}")
    return bare


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree in TREES.items() if ast.get_docstring(tree) is None] == []


# What there is not.

DANGEROUS_MODULES = {
    "pickle",
    "_pickle",
    "marshal",
    "shelve",
    "dbm",
    "dill",
    "cloudpickle",
    "jsonpickle",
    "yaml",
    "runpy",
    "code",
    "http.cookies",
}


# Names that look dangerous and are not: Beaker's dbm files are not pickles (our own reader reads their values); a
# command imports a module that its user names; and WebOb's signer is told to return bytes.
HARMLESS = {
    ("moving/beaker_files.py", "dbm"),
    ("moving/advance.py", "importlib.import_module"),
    ("moving/pyramid.py", "self._signer.loads"),
}


def test_nothing_is_unpickled_evaluated_or_imported_by_a_name_from_data() -> None:
    """Flask-Session's, Beaker's and Pyramid's pickles ran whatever code reached their store."""
    found = []
    for place, node in nodes(ast.Import):
        found += [(place, alias.name) for alias in node.names if alias.name in DANGEROUS_MODULES]
    for place, node in nodes(ast.ImportFrom):
        if node.module in DANGEROUS_MODULES:
            found.append((place, node.module))
    for place, node in nodes(ast.Call):
        name = called(node)
        if name in {
            "eval",
            "exec",
            "compile",
            "__import__",
            "builtins.eval",
            "importlib.import_module",
            "import_module",
        }:
            found.append((place, name))
        if name.rpartition(".")[2] in {"loads", "load_module"} and not name.startswith("json."):
            found.append((place, name))
    assert [(place, name) for place, name in found if (place.partition(":")[0], name) not in HARMLESS] == []


def test_only_stores_that_were_installed_are_imported_by_name() -> None:
    """Entry points: what a scheme means is decided by what is installed, never by what a record says."""
    assert {place.partition(":")[0] for place, node in nodes(ast.Call) if called(node) == "entry.load"} <= {
        "stores/urls/opening.py"
    }


SECRET_NAMES = ("signature", "csrf", "mac", "digest", "password", "token")


def names_in(expression: ast.expr) -> set[str]:
    found = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    return found | {node.attr for node in ast.walk(expression) if isinstance(node, ast.Attribute)}


def test_secrets_are_compared_in_constant_time() -> None:
    """``==`` tells by the time it takes how much was right."""
    unsafe = []
    for place, node in nodes(ast.Compare):
        sides = [node.left, *node.comparators]
        if not any(isinstance(operator, (ast.Eq, ast.NotEq)) for operator in node.ops):
            continue
        if any(isinstance(side, ast.Constant) or "len" in names_in(side) for side in sides):
            continue
        names = set().union(*map(names_in, sides)) - {"tokens"}
        if any(secret in name.lower() for name in names for secret in SECRET_NAMES):
            unsafe.append((place, ast.unparse(node)))
    assert unsafe == []
    comparing = {place.partition(":")[0] for place, node in nodes(ast.Call) if called(node).endswith("compare_digest")}
    assert "cookies/tokens.py" in comparing


DRAWING = ("cookies/tokens.py", "config/keygen.py", "helpers/csrf.py")


def test_secrets_are_drawn_from_the_systems_generator() -> None:
    found = [
        place
        for kind in (ast.Import, ast.ImportFrom)
        for place, node in nodes(kind)
        if place.startswith(DRAWING) and re.search(r"\brandom\b", ast.unparse(node))
    ]
    assert found == []


# What it takes to import it.


def run_in_a_fresh_interpreter(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["wsgi_session", "wsgi_session.stores", "wsgi_session.middleware"])
def test_importing_it_brings_in_no_extra(module: str) -> None:
    extras = {
        "click",
        "redis",
        "hiredis",
        "sqlalchemy",
        "psycopg",
        "pymysql",
        "cryptography",
        "prometheus_client",
        "opentelemetry",
        "flask",
        "django",
        "pyramid",
        "pytest",
        "hypothesis",
        "waitress",
        "jinja2",
    }
    loaded = run_in_a_fresh_interpreter(f"import sys, {module}; print(*sys.modules)").split()
    assert extras.isdisjoint(name.partition(".")[0] for name in loaded)


def test_the_testing_tools_need_no_extra_either() -> None:
    """The conformance suite runs under any runner."""
    loaded = run_in_a_fresh_interpreter("import sys, wsgi_session.testing; print(*sys.modules)").split()
    assert "pytest" not in loaded


def test_importing_it_starts_no_thread_and_opens_no_file() -> None:
    program = (
        "import os, threading, wsgi_session\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "left = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if fd not in '012'\n"
        "        and os.path.exists(f'/proc/self/fd/{fd}')] if os.path.isdir('/proc/self/fd') else []\n"
        "print([name for name in left if 'wsgi' in name])\n"
    )
    assert run_in_a_fresh_interpreter(program) == "[]\n"


def test_another_interpreter_than_cpython_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """On PyPy 3.11, SQLite's answers make a tombstone pass for a session."""
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(**{**vars(sys.implementation), "name": "pypy"}))
    with pytest.raises(ImportError, match=r"CPython only, and this is pypy: .* with CPython 3\.10 or newer"):
        importlib.reload(wsgi_session)


@pytest.mark.full
def test_every_module_can_be_imported_first() -> None:
    """No import cycle that works by luck. (What needs an extra that is not installed may say so.)"""
    program = (
        "import importlib, pkgutil, sys, wsgi_session\n"
        "names = [module.name for module in pkgutil.walk_packages(wsgi_session.__path__, 'wsgi_session.')]\n"
        "for name in names:\n"
        "    if name.endswith('__main__'): continue\n"
        "    for loaded in [one for one in sys.modules if one.startswith('wsgi_session')]: del sys.modules[loaded]\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        if error.name.startswith('wsgi_session'): raise\n"
        "print(len(names))\n"
    )
    assert int(run_in_a_fresh_interpreter(program)) > 20
