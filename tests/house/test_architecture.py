"""The rules of the house: who may import whom, and how large things may grow (DESIGN, section 3)."""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.house.source import Function, Module, modules

pytestmark = pytest.mark.xdist_group("house")  # what one process has read is enough for all rules

SOURCE, TESTS = "src/lading", "tests"

MAX_FILE, MAX_FUNCTION, MAX_PORT, MAX_SOURCE = 500, 80, 12, 45_000
BANNED = {"utils", "util", "helpers", "helper", "common", "misc", "base"}

# What each part may import of ours, besides itself. The rest is for build, cli and the entry points.
ALLOWED = {
    "lading.oci": [],
    "lading.registry": ["lading.oci"],
    "lading.api": ["lading.registry", "lading.oci"],
    "lading.config": [],
    "lading.storage": ["lading.registry.ports", "lading.oci"],
    "lading.server": [],
    "lading.auth": [
        "lading.registry.access",
        "lading.registry.audit",
        "lading.oci",
        "lading.api.request",
        "lading.api.response",
    ],
    "lading.operations": ["lading.registry", "lading.oci", "lading.api.request"],
    "lading.client": ["lading.oci"],
    "lading.commands.remote": ["lading.client", "lading.oci", "lading.config.problems"],
    "lading.upstream": ["lading.registry.upstream", "lading.registry.ports", "lading.client", "lading.oci"],
    "lading.notify": [
        "lading.registry.events",
        "lading.registry.ids",
        "lading.registry.ports",
        "lading.oci",
    ],
    "lading.redis": ["lading.registry.ports", "lading.oci"],
    "lading.testing": ["lading.registry.ports", "lading.registry.access", "lading.oci"],
}
ADAPTERS = [
    "lading.storage",
    "lading.server",
    "lading.operations",
    "lading.auth",
    "lading.upstream",
    "lading.redis",
    "lading.notify",
]
PARTS = {
    f"lading.compose.{part}"
    for part in (
        "accounts",
        "auth",
        "check",
        "descriptors",
        "error",
        "extensions",
        "journal",
        "maintenance",
        "middleware",
        "notify",
        "policy",
        "proxy",
        "retention",
        "storage",
        "tokens",
        "trust",
    )
}
COMPOSERS = PARTS | {
    "lading.build",
    "lading.oversight",
    "lading.cli",
    "lading.commands.api",
    "lading.commands.auth",
    "lading.commands.collect",
    "lading.commands.events",
    "lading.commands.manifests",
    "lading.commands.migrate",
    "lading.commands.quarantine",
    "lading.commands.repositories",
    "lading.commands.retention",
    "lading.commands.stored",
    "lading.commands.tags",
    "lading.commands.templates",
    "lading.commands.verify",
    "lading.__main__",
}
ENTRIES = COMPOSERS | {"lading", "lading.commands", "lading.compose", "lading.digest"}


def within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def ours(names: set[str]) -> Iterator[str]:
    """The modules of ours behind `module` and `module.name`."""
    known = {module.name for module in modules(SOURCE)}
    for name in names:
        if within(name, "lading"):
            module = name
            while module not in known:
                module = module.rpartition(".")[0]
            yield module


def every(*folders: str) -> Callable[[Callable[[Module], None]], Callable[[], None]]:
    """A rule for one module as a test of all of them, which names each that breaks it."""

    def as_test(rule: Callable[[Module], None]) -> Callable[[], None]:
        def test() -> None:
            broken = []
            for module in itertools.chain.from_iterable(map(modules, folders)):
                try:
                    rule(module)
                except AssertionError as error:
                    broken.append(f"{module.place}: {error}")
            assert not broken, "\n".join(broken)

        test.__doc__ = rule.__doc__
        return test

    return as_test


every_source = every(SOURCE)
every_file = every(SOURCE, TESTS)


@every_source
def test_imports(module: Module) -> None:
    if module.name in ENTRIES:
        return
    part = next((part for part in ALLOWED if within(module.name, part)), None)
    assert part is not None, f"{module.name} belongs to no part: say in ALLOWED what it may import"
    allowed = [part, *ALLOWED[part], "lading.__version__"]
    stray = [
        name for name in ours(module.imports()) if name != "lading" and not any(within(name, a) for a in allowed)
    ]
    assert stray == []


@every_source
def test_storage_drivers_do_not_know_each_other(module: Module) -> None:
    if within(module.name, "lading.storage"):
        parts = module.name.split(".")
        own = ".".join(parts[:3])
        allowed = (own, "lading.storage.objects")  # what drivers of object stores share
        others = [
            name
            for name in ours(module.imports())
            if within(name, "lading.storage") and not any(within(name, each) for each in allowed)
        ]
        assert others == []


@every_source
def test_only_composers_import_adapters(module: Module) -> None:
    if module.name in COMPOSERS or any(within(module.name, adapter) for adapter in ADAPTERS):
        return
    assert [name for name in ours(module.imports()) if any(within(name, adapter) for adapter in ADAPTERS)] == []


@every_source
def test_the_core_does_nothing_but_think(module: Module) -> None:
    """`oci` is pure; the registry and the API reach the world through ports and ASGI alone."""
    forbidden = {
        "lading.oci": {"os", "socket", "asyncio", "threading", "subprocess", "pathlib", "io", "time", "random"},
        "lading.registry": {"os", "socket", "subprocess", "pathlib", "io"},
        "lading.api": {"os", "socket", "subprocess", "pathlib", "io"},
    }
    for part, names in forbidden.items():
        if within(module.name, part):
            assert {name.partition(".")[0] for name in module.imports()} & names == set()
    if within(module.name, "lading.oci"):
        waits = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
        assert [node for node in module.nodes if isinstance(node, waits)] == []


@every_source
def test_the_core_needs_few_packages(module: Module) -> None:
    for part, packages in [("lading.oci", {"orjson"}), ("lading.registry", set()), ("lading.api", {"orjson"})]:
        if within(module.name, part):
            named = {name.partition(".")[0] for name in module.imports()} - sys.stdlib_module_names
            assert named <= packages | {"lading"}


@every_source
def test_only_the_configuration_reads_the_environment(module: Module) -> None:
    if within(module.name, "lading.config") or module.name == "lading.client.authfile":
        return  # a client has no configuration: its logins lie where those of other clients do
    reading = {"environ", "environb", "getenv", "putenv", "unsetenv"}
    attributes = {node.attr for node in module.nodes if isinstance(node, ast.Attribute)}
    assert attributes & reading == set()
    assert {f"os.{name}" for name in reading} & module.imports() == set()


def test_no_import_cycles() -> None:
    graph = {
        module.name: set(ours(module.imports(typing_only=False))) - {module.name} for module in modules(SOURCE)
    }
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert graph == {}


@every_source
def test_imports_are_at_the_top(module: Module) -> None:
    if module.name in {
        "lading.build",
        "lading.cli",
        "lading.commands.api",
        "lading.commands.events",
        "lading.commands.retention",
        "lading.compose.check",
        "lading.compose.descriptors",
        "lading.compose.notify",
        "lading.compose.retention",
        "lading.compose.storage",
        "lading.oversight",
    }:
        return
    inner = [
        f"{function.name}, line {node.lineno}"
        for function in module.functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inner == []


@every_file
def test_files_are_not_long(module: Module) -> None:
    assert module.lines <= MAX_FILE


@every_file
def test_functions_are_not_long(module: Module) -> None:
    long = [f"{f.name}: {_length(f)} lines" for f in module.functions if _length(f) > MAX_FUNCTION]
    assert long == []


def _length(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_the_whole_is_not_long() -> None:
    assert sum(module.lines for module in modules(SOURCE)) <= MAX_SOURCE


@every_source
def test_everything_is_annotated(module: Module) -> None:
    assert [missing for function in module.functions for missing in _unannotated(function)] == []


def _unannotated(function: Function) -> Iterator[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for number, argument in enumerate(named):
        own = number == 0 and argument is not None and argument.arg in {"self", "cls"}
        if argument is not None and argument.annotation is None and not own:
            yield f"{function.name}({argument.arg}), line {function.lineno}"
    if function.returns is None:
        yield f"{function.name} ->, line {function.lineno}"


@every_source
def test_names_say_something(module: Module) -> None:
    assert not BANNED & set(module.name.split("."))


@every_source
def test_ports_are_narrow(module: Module) -> None:
    for found in module.classes:
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in found.bases):
            methods = [
                node.name for node in found.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            assert len(methods) <= MAX_PORT, found.name


@every_source
def test_errors_are_not_swallowed(module: Module) -> None:
    """A handler that catches everything says why, and does something."""
    for handler in (node for node in module.nodes if isinstance(node, ast.ExceptHandler)):
        assert handler.type is not None, f"bare except, line {handler.lineno}"
        if isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"}:
            assert not isinstance(handler.body[0], ast.Pass), f"line {handler.lineno}"


@every_file
def test_mocks_are_not_used(module: Module) -> None:
    imported = {name for name in module.imports() if "mock" in name.lower()}
    assert imported == set()


@every_source
def test_handlers_are_not_wrapped(module: Module) -> None:
    if within(module.name, "lading.api"):
        properties = {"property", "dataclass"}
        for function in module.functions:
            names = {ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list}
            assert len(names - properties) <= 1, function.name


@every_source
def test_production_does_not_know_of_tests(module: Module) -> None:
    if within(module.name, "lading.testing"):
        return
    imported = {name.partition(".")[0] for name in module.imports()}
    assert imported & {"pytest", "hypothesis", "tests"} == set()
    assert not [name for name in ours(module.imports()) if within(name, "lading.testing")]


CHECKS = {"raises", "warns", "fail", "expect", "check"}


def test_tests_assert_something() -> None:
    """By an assertion of their own, or by calling something of the suites that has one."""
    functions = [
        function for module in [*modules(TESTS), *modules("src/lading/testing")] for function in module.functions
    ]
    asserting = {function.name for function in functions if _asserts(function)}
    while found := {f.name for f in functions if f.name not in asserting and _calls(f) & (asserting | CHECKS)}:
        asserting |= found
    idle = [
        f"{module.place}: {function.name}"
        for module in modules(TESTS)
        for function in module.functions
        if function.name.startswith("test_")
        and not _asserts(function)
        and not _calls(function) & (asserting | CHECKS)
    ]
    assert idle == []


def _asserts(function: Function) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(function))


def _calls(function: Function) -> set[str]:
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            called = node.func
            names.add(called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""))
    return names
