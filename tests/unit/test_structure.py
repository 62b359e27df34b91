"""The structure of ARCHITECTURE.md: the direction of imports, and the purity of payments/."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("config", "payments", "models", "daemon", "web", "admin", "regtest")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (*sorted(ROOT.glob("*.py")), *(p for d in PACKAGES for p in sorted((ROOT / d).rglob("*.py"))))
}
SETTINGS = {"config", "logs", "sd_notify", "version"}

MAY_IMPORT = {
    "config": {"config", "payments"},
    "payments": {"payments"},
    "models": {"payments", "models"},
    "daemon": {"payments", "models", "daemon", *SETTINGS},
    "web": {"payments", "models", "web", *SETTINGS},
    "admin": {"payments", "models", "daemon", "web", "admin", *SETTINGS},
    "regtest": {"payments", "models", "daemon", "web", "admin", "regtest", *SETTINGS},
}
"""The packages that a package may import from. The files at the top may import all of them."""

MAY_USE = {
    ("admin", "web"): {"api", "monitoring", "http"},
    ("admin", "daemon"): {"node", "delivery", "net", "rates"},
    ("regtest", "admin"): {"terminal"},
    ("regtest", "daemon"): {"node"},
    ("regtest", "web"): set(),
}
"""The rooms of another package that a package may import from, where these are not all.

A command asks for money by the API's forms and terms, and the doctor tries the daemon's own connections. The
demo calls bitcoind by the daemon's client.
"""

ROOMS = {
    "config": (
        ("command", "file_permissions", "types"),
        ("addresses", "reader"),
        ("hosts", "proxy", "rates"),
        ("settings",),
    ),
    "payments": (
        ("extended_key", "gap", "money", "network", "status"),
        (
            "cancellation",
            "descriptor",
            "document",
            "late",
            "link",
            "price",
            "replacement",
            "transaction",
            "typed_amount",
        ),
        ("greenfield", "link_document", "notifications"),
    ),
    "models": (
        ("db", "identifiers", "migrations"),
        ("block", "daemon_status", "operator_session", "rate", "seller", "wallet"),
        ("address", "api_key", "link", "webhook"),
        ("payment",),
        ("decision", "invoice", "outbox", "output"),
        ("command", "delivery"),
        ("queries",),
    ),
    "daemon": (
        ("net", "worker", "counters", "failpoint", "progress", "state"),
        ("unit_of_work",),
        ("node", "rates", "delivery"),
        ("descriptor_pool",),
        ("chain", "address_pool"),
        ("commands", "health", "schedule"),
        ("reconciler",),
        ("loop",),
    ),
    "web": (
        ("http",),
        ("auth", "html"),
        ("api",),
        ("checkout", "monitoring"),
        ("greenfield", "links"),
        ("description", "operator"),
        ("app",),
    ),
    "admin": (
        ("terminal",),
        ("cli",),
        ("checked", "daemon", "money_request", "operator_rpc"),
        ("wallet",),
        ("seller",),
        (
            "audit",
            "chain",
            "database",
            "doctor",
            "events",
            "keys",
            "links",
            "payment",
            "settings",
            "webhook",
        ),
        ("main",),
    ),
    "regtest": (
        ("child", "console", "client", "fetch", "keyboard"),
        ("node",),
        ("process",),
        ("installation",),
        ("demo_login", "demo_payment", "demo_wallet"),
        ("demo_commands",),
        ("demo_keys",),
        ("demo_running",),
        ("demo",),
    ),
}
"""The floors of a package, the lowest first. A room imports from the floors below it and from itself."""

IMPURE = set(
    "apsw asyncio bottle http io logging models os pathlib peewee psycopg random requests secrets smtplib "
    "socket sqlite3 ssl structlog subprocess threading time urllib3 uvicorn zmq".split()
)
CLOCKS = {"now", "utcnow", "today", "open", "print", "input"}

MAX_FILE_LINES = 400
"""The maximum number of lines. A longer file does more than one thing."""


@cache
def _imports(path: Path) -> set[str]:
    """Return the full names of the modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            base = node.module or ""
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def _own_imports(path: Path) -> set[str]:
    """Return our modules among a file's imports; for a name in a module, the module."""
    found = set()
    for name in _imports(path):
        found |= {known for known in (name, name.rpartition(".")[0]) if known in MODULES}
    return found


def _package(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    """The direction is payments <- models <- daemon and web, which do not import each other."""
    for module, path in MODULES.items():
        if _package(module) == package:
            foreign = {name for name in _own_imports(path) if _package(name) not in MAY_IMPORT[package]}
            assert not foreign, f"{module} imports {foreign}"


@pytest.mark.parametrize(("package", "other"), MAY_USE)
def test_some_rooms_of_another_package_are_used(package: str, other: str) -> None:
    for module, path in MODULES.items():
        if _package(module) == package:
            rooms = {name.split(".")[1] for name in _own_imports(path) if _package(name) == other}
            assert rooms <= MAY_USE[package, other], f"{module} imports from {other}: {rooms}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_from_the_floors_below(package: str) -> None:
    """Inside a package, too, imports go one way."""
    floor_of = {room: floor for floor, rooms in enumerate(ROOMS[package]) for room in rooms}
    modules = {name: path for name, path in MODULES.items() if _package(name) == package}
    del modules[f"{package}.__init__"]
    assert {name.split(".")[1] for name in modules} == floor_of.keys(), "ROOMS lacks a room, or has another"
    for module, path in modules.items():
        room = module.split(".")[1]
        for name in _own_imports(path):
            if _package(name) != package or name == package:
                continue
            other = name.split(".")[1]
            assert other == room or floor_of[other] < floor_of[room], f"{module} imports {name}"


def test_the_servers_import_no_commands() -> None:
    """The servers run without the operator's commands and without the regtest installation."""
    for module in ("run_daemon", "run_web"):
        assert not {
            name for name in _own_imports(MODULES[module]) if _package(name) in {"admin", "regtest"}
        }, module


def test_payments_uses_no_clock_database_network_file_or_log() -> None:
    """The same facts then always give the same result."""
    for module, path in MODULES.items():
        if _package(module) != "payments":
            continue
        outside = {_package(name) for name in _imports(path)}
        assert not outside & IMPURE, f"{module} imports {outside & IMPURE}"
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        calls = {_called(node) for node in nodes if isinstance(node, ast.Call)}
        assert not calls & CLOCKS, f"{module} calls {calls & CLOCKS}"


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_imports_have_no_circles() -> None:
    """A reader can understand each module after those that it imports."""
    left = {module: _own_imports(path) - {module} for module, path in MODULES.items()}
    while left:
        ready = [module for module, needs in left.items() if not needs & left.keys()]
        assert ready, f"in a circle, or importing one: {sorted(left)}"
        for module in ready:
            del left[module]


def test_the_web_server_cannot_call_bitcoind() -> None:
    """The web server is public."""
    for module, path in MODULES.items():
        if _package(module) == "web":
            assert not any(name.startswith(("bitcoinrpc", "zmq")) for name in _imports(path)), module
            assert "rpc_password" not in path.read_text(), module


def test_a_file_is_short_and_has_a_specific_name() -> None:
    for module, path in MODULES.items():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES, module
        assert not {"utils", "util", "helpers", "common", "misc"} & set(module.split(".")), module
