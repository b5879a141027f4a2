"""What holds for the whole code base: layers, one home a name, budgets of packages, what is never imported."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

SOURCE = Path(importlib.import_module("coterie").__file__).parent
MODULES = sorted(p for p in SOURCE.rglob("*.py") if "examples" not in p.relative_to(SOURCE).parts)
PACKAGES = sorted(p.parent for p in SOURCE.rglob("__init__.py") if "examples" not in p.relative_to(SOURCE).parts)

# Imports point down this list only; packages on one line may import each other to the left.
LAYERS = [
    ["types", "errors", "runtime"],
    ["protocols", "text", "reports"],
    ["config"],
    ["accounting", "store", "models", "engines", "turns", "context"],
    ["tuning"],
    ["learning"],
    ["registry", "privacy", "logs"],
    ["limits", "policy", "routing", "observe", "structured"],
    ["specialists", "knowledge"],
    ["governance"],
    ["tasks"],
    ["training"],
    ["rightsizing"],
    ["generalist"],
    ["decisions"],
    ["network"],
    ["flywheel"],
    ["assembly"],
    ["gateway", "testing", "edge", "scale"],
    ["console"],
    ["api", "cli"],
    ["__init__", "__main__"],
]
RANK = {name: (rank, index) for rank, layer in enumerate(LAYERS) for index, name in enumerate(layer)}

# Lines a package may have. To raise one is a decision: say why beside it.
BUDGETS = {
    "__init__": 100,  # ToolCaller
    "__main__": 10,
    "accounting": 1115,
    "api": 1805,  # trainings in the ledger; ToolCaller; errors without the temporary folder, single pairs
    "assembly": 650,  # encoders of choices; adapters loaded ahead; MCP servers; a flywheel, and what trains there
    "cli": 7750,  # keys of captured models; narrow terminals; teachers; import, mcp; feedback; ledger; workers; rows
    "config": 1610,  # a list of encoders; capture and flywheel; servers of MCP; addresses without a query
    "console": 3720,  # nine screens; deployments in the picture; sign-in at a provider, jobs beside the workers
    "context": 620,  # the chain of follow-ups by a model that reads texts, and its usage
    "decisions": 955,  # the named specialist; typed questions; what cannot be read; deployments; drawn options
    "engines": 6340,  # layers that models share; vLLM; encoders by name; relay; a transport as seam; models that read
    "edge": 1140,  # bundles: what a device checks, for whom a release is, what goes in, models; images; pages
    "errors": 303,  # words for callers
    "flywheel": 6150,  # edited prompts; placeholders; lists; tenants; new labels; jobs, evidence, capture, review, runs
    "gateway": 8060,  # relays are counted; stored responses; deployments, review over HTTP; local models at each door
    "generalist": 1625,  # whole answers asked for whole; functions, also beside a form; what did not fit is told
    "governance": 3765,  # write-ahead entries, what never left; MCP; one look at a prompt, none at a known text; orders
    "knowledge": 6985,  # encodings; items; XLSX, PPTX, tables of PDF, columns by their cells, dates; loose files
    "learning": 5625,  # decimal commas; scopes, from tasks; files in UTF-16; a prior on confidence, wrong labels
    "limits": 1635,  # rows that stay their own; spans beside storage; calls capped, or as long as such were; leases
    "logs": 1240,  # streamed calls; logs as training rows: a dozen formats and their containers; who asked; tokens
    "models": 1160,  # encoders' weights, small models; arrays that ship with the package
    "network": 2740,  # passages of a turn; what left in a relayed head; nulls; stages; relay, routes by schema
    "observe": 570,  # the sums of several workers, in space that is reserved; counters added up
    "policy": 725,
    "privacy": 2855,  # numbers of 56 countries; fields of programs; dates; names by a classifier; encoded, cut, tagged
    "protocols": 730,  # what reads turns; what gates read; functions; the flywheel, its calls, what is named
    "registry": 1910,  # the chain of champions and its check
    "reports": 300,
    "rightsizing": 2040,
    "routing": 2900,  # pieces as written, or undivided; one scale for likeness; others asked, descriptions
    "runtime": 1900,  # known texts; threads for long work; PostgreSQL; quick copies; clocks; rows; cores; strict JSON
    "scale": 1020,  # the gateway on Ray Serve; open loops, their curves and plans
    "specialists": 410,
    "store": 4235,  # one turn erased; calls by caller; many rows a statement, one writing thread; read models; flywheel
    "structured": 1180,  # what did not fit; who is named; schemas read, checked, bounded for decoding; nesting
    "tasks": 19590,  # words of choices and arguments; languages; words that tables overlook; subjects; columns; calls
    "testing": 2000,  # an audit log for the contract of stores; a scripted transport; findings made with one builder
    "text": 2700,  # decimal commas; fields as words; an automaton for n-grams; a normaliser; values of 31 languages
    "training": 511,  # candidates that serve nobody
    "tuning": 2290,  # encoders built, vocabularies cut; corrections of published encoders
    "turns": 400,  # a model of follow-ups, its files and heads; phrases in the place of parallel ones
    "types": 2770,  # turns; words for operators; traces of errors; what never left; what gates read; contradictions
}


def module_of(path: Path) -> str:
    """The dotted name of a file below `coterie`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def package_of(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


NAMES = {module_of(path): path for path in MODULES}


@cache
def tree_of(path: Path) -> ast.Module:
    """A module's syntax, parsed once."""
    return ast.parse(path.read_text())


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of it."""
    return tuple(ast.walk(tree_of(path)))


@cache
def imports_of(path: Path) -> set[tuple[str, str]]:
    """(module, name) pairs a file imports, anywhere in it; imports for annotations included."""
    imported = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            imported |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports by dots: absolute names tell where a thing is"
            imported |= {(node.module or "", alias.name) for alias in node.names}
    return imported


@cache
def own_imports(path: Path) -> set[str]:
    """Modules of ours that a file imports."""
    imported = set()
    for module, name in imports_of(path):
        if module.split(".")[0] == "coterie":
            inside = module.removeprefix("coterie").removeprefix(".")
            whole = f"{inside}.{name}".strip(".")
            if (module, name) != ("coterie", "__version__"):
                imported.add(whole if whole in NAMES else inside or "__init__")
    return imported


def test_the_root_holds_what_everything_needs():
    """Whatever else there is has a package."""
    beside = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert beside == {"errors.py", "protocols.py", "assembly.py"}


def test_every_concept_has_its_place():
    """A package or root module that the order of layers does not know is refused."""
    assert {package_of(module) for module in NAMES} <= set(RANK)


@pytest.mark.parametrize("module", NAMES)
def test_imports_point_one_way(module):
    """No module imports from a package above its own."""
    here = package_of(module)
    for other in own_imports(NAMES[module]):
        there = package_of(other)
        if there != here:
            assert RANK[there] <= RANK[here], f"{module} imports {other}, which is above it"


def test_no_cycles():
    """No module imports itself through others, function-level imports included."""
    graph = {module: own_imports(path) - {module} for module, path in NAMES.items()}
    for module in list(graph):  # a package's face is read before each of its modules
        graph[module] -= {module.rsplit(".", 1)[0]}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", NAMES)
def test_private_names_stay_private(module):
    """Across modules no name with an underscore is imported."""
    for other, name in imports_of(NAMES[module]):
        if other.startswith("coterie"):
            assert not name.startswith("_") or name.startswith("__"), f"{module} imports {name} of {other}"


def test_a_name_has_one_home():
    """No two public classes have the same name."""
    homes = defaultdict(list)
    for module, path in NAMES.items():
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module)
    double = {name: where for name, where in homes.items() if len(where) > 1}

    assert double == {}


def test_only_types_and_testing_have_faces():
    """A package's `__init__` says what the package is; names are imported from the module that defines them."""
    for package in PACKAGES:
        if package.relative_to(SOURCE).parts[:1] in {("types",), ("testing",), (), ("cli",)}:
            continue
        tree = ast.parse((package / "__init__.py").read_text())
        assert ast.get_docstring(tree), package
        assert len(tree.body) == 1, package


@pytest.mark.parametrize("package", ["types", "testing"])
def test_faces_are_whole(package):
    """Each face has all that it lists, each once."""
    face = importlib.import_module(f"coterie.{package}")

    assert len(face.__all__) == len(set(face.__all__))
    assert all(hasattr(face, name) for name in face.__all__)


def test_no_reexports_under_noqa():
    """Nothing is imported only to be imported from there again."""
    for path in MODULES:
        assert "PLC0414" not in path.read_text(), path


def test_budgets():
    """A package stays within its budget of lines; a package without one is refused."""
    lines = Counter()
    for module, path in NAMES.items():
        lines[package_of(module)] += len(path.read_text().splitlines())

    assert {package: count for package, count in lines.items() if count > BUDGETS.get(package, 0)} == {}


def test_no_confetti():
    """A module that a few lines fill is the exception: what is one idea is one file."""
    small = [
        module
        for module, path in NAMES.items()
        if path.name != "__init__.py" and len(path.read_text().splitlines()) < 40
    ]

    assert len(small) <= 20, small


def test_functions_are_short():
    """At most 1% of all functions have more than 50 lines, none more than 80."""
    lengths = [
        (node.end_lineno - node.lineno + 1, f"{module}:{node.name}")
        for module, path in NAMES.items()
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [length for length in lengths if length[0] > 50]

    assert len(long) <= len(lengths) / 100, sorted(long)
    assert max(lengths)[0] <= 80, max(lengths)


PLACES = {"engines.kinds", "knowledge.kinds"}
"""Modules whose `place` is an `EnginePlace` or `IndexPlace`: the contract of plug-ins names it."""


@pytest.mark.parametrize("module", NAMES)
def test_variables_say_what_they_hold(module):
    """No variable or parameter is called by what was done with it: a reader has to be told what it holds."""
    vague = {"each", "found", "said", "place", "asked", "known", "told"}
    nodes = list(nodes_of(NAMES[module]))
    fields = {id(part.target) for node in nodes if isinstance(node, ast.ClassDef) for part in fields_of(node)}
    names = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    parameters = {(node.arg, node.lineno) for node in nodes if isinstance(node, ast.arg) and node.arg in vague}

    assert {(node.id, node.lineno) for node in names if node.id in vague and id(node) not in fields} == set()
    assert parameters == set() or module in PLACES


def fields_of(node: ast.ClassDef) -> list[ast.AnnAssign]:
    """The fields of a class: their names are read behind an object, which says what they belong to."""
    return [part for part in node.body if isinstance(part, ast.AnnAssign)]


def test_the_laboratory_stays_outside():
    """`labs/` imports the product; it is not in the wheel, so nothing in the product may import it."""
    for path in MODULES:
        assert not {module for module, _ in imports_of(path) if module.split(".")[0] == "labs"}, path


def test_no_hidden_state():
    """What decides is an argument: no context variable says who asks, who pays or what is left."""
    for path in MODULES:
        assert not {module for module, _ in imports_of(path)} & {"contextvars"}, path


def test_no_code_runs_from_data():
    """Nothing that can run code while loading data is imported: pickle, joblib, marshal, shelve, eval."""
    banned = {"pickle", "joblib", "marshal", "shelve", "dill", "cloudpickle"}
    for path in MODULES:
        assert not {module.split(".")[0] for module, _ in imports_of(path)} & banned, path
        for node in nodes_of(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, path


def test_remote_engine_only_behind_the_gate():
    """Only `governance` names the engines that leave this process."""
    for path in MODULES:
        if package_of(module_of(path)) not in {"governance", "engines"}:
            assert not {"OpenAIEngine", "McpEngine"} & set(re.findall(r"\w+", path.read_text())), path


def test_spans_only_from_observe():
    """What sends spans to a collector is imported by `observe` alone."""
    for path in MODULES:
        if package_of(module_of(path)) != "observe":
            assert not {m for m, _ in imports_of(path) if m.split(".")[0] == "opentelemetry"}, path


def test_only_a_task_asks_which_task_it_is():
    """Nobody branches on a task by its name: what differs is in the task's own package, behind one contract.

    The Python API has a class a task, so it may ask.
    """
    asks = re.compile(r"\.task (?:[!=]=|in |not in )|\btask (?:[!=]=) \"|\.(?:pair_column|writes_freely)\b")
    for path in MODULES:
        if package_of(module_of(path)) not in {"tasks", "api"}:
            assert not asks.search(path.read_text()), path


def test_every_task_has_the_same_modules():
    """Who has read one task finds a way in every other."""
    tasks = [path for path in (SOURCE / "tasks").iterdir() if (path / "__init__.py").exists()]

    assert len(tasks) == 7
    for task in tasks:
        assert {"section.py", "rows.py", "model.py", "fit.py", "task.py"} <= {p.name for p in task.iterdir()}


def test_http_clients_only_where_something_may_leave():
    """An HTTP client is imported by the remote engine and the model download, and nowhere else."""
    allowed = {"engines", "models"}
    clients = {"httpx", "httpx2", "huggingface_hub", "requests", "urllib.request", "http.client", "socket", "aiohttp"}
    for path in MODULES:
        if package_of(module_of(path)) not in allowed | {"testing", "gateway", "cli"}:
            assert not {module for module, _ in imports_of(path)} & clients, path


def test_import_is_light():
    """`import coterie` brings no torch, no scikit-learn, no onnxruntime, no web server."""
    code = "import sys, coterie; print('\\n'.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )

    assert not loaded & {
        "torch",
        "sklearn",
        "scipy",
        "onnxruntime",
        "starlette",
        "aiohttp",
        "httpx",
        "xllamacpp",
        "pydantic",
    }


def test_serving_needs_no_training_library():
    """A gateway with its console opens without scipy and scikit-learn: a bundle for a device leaves them out."""
    code = "import sys, coterie.assembly, coterie.console.app, coterie.gateway.serve; print('\\n'.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )

    assert not loaded & {"torch", "sklearn", "scipy"}


NEEDS_AN_EXTRA = {
    *("gateway.mcp_server", "governance.oidc"),
    *("knowledge.postgres", "knowledge.postgres_tables", "runtime.postgres", "store.postgres"),
    *("learning.adapters", "tuning.causal", "tuning.export", "tuning.finetune", "tuning.plain_loop"),
    *("tasks.classify.fit_tuned", "tasks.extract.fit_tuned", "tasks.generate.fit_replies"),
    *("observe.spans", "registry.ed25519", "scale.ray"),
}
"""Modules that import a package of an extra; what uses them imports them inside a function."""


def test_the_core_is_enough_for_all_other_modules():
    """Where no extra is installed only the modules that are named fail to import: every command still starts."""
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = [line for name, lines in extras.items() if name not in {"dev", "chart"} for line in lines]
    needed = {re.split(r"[^\w.-]", line)[0] for line in lines}
    names = {name for name, owners in packages_distributions().items() if needed & {*owners}} | {"mcp_types", "ray"}
    code = f"""
import importlib, pkgutil, sys
class Refuses:
    def find_spec(name, path=None, target=None):
        if name in {names}: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuses)
import coterie
for m in pkgutil.walk_packages(coterie.__path__, 'coterie.'):
    try: '__main__' in m.name or importlib.import_module(m.name)
    except ModuleNotFoundError: print(m.name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert {name.removeprefix("coterie.") for name in done.stdout.split()} <= NEEDS_AN_EXTRA


def test_training_needs_no_torch():
    """The rungs that take seconds are trained without the extra `train`."""
    code = "import sys, coterie; coterie.Classifier; print('\\n'.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )

    assert not loaded & {"torch", "transformers", "peft"}


def test_offline_by_default():
    """Importing and opening everything opens no connection: any attempt to resolve or connect fails loudly."""
    code = """
import socket, importlib, pkgutil
def refuse(*a, **k): raise SystemExit('the network was touched')
socket.socket.connect = refuse; socket.getaddrinfo = refuse; socket.create_connection = refuse
import coterie
for m in pkgutil.walk_packages(coterie.__path__, 'coterie.'):
    if '__main__' in m.name: continue
    try: importlib.import_module(m.name)
    except ModuleNotFoundError as missing:
        if missing.name.partition('.')[0] != 'ray': raise  # an extra of its own, which the tests do not install
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
