"""Generate the npm package of a net: one entry point per engine and backend, the runtime, models, goldens, a sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from export.bundle import proof
from export.bundle.package import Content, Files
from export.bundle.plan import PHOTO, STAGE, Plan
from export.bundle.web.contract import Golden, Parted, contract, golden_tensors, parted_files, quoted
from export.bundle.web.names import Method, Names, is_map, make_names
from hydramobile.artifact import FileRecord
from hydramobile.errors import StageError

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
# npm package -> the version that parity ran on. An app may take a newer one of the same major version.
VERSIONS = {
    "onnxruntime-web": "1.30.0",
    "@litertjs/core": "2.5.3",
    "@tensorflow/tfjs-core": "4.22.0",
    "@tensorflow/tfjs-converter": "4.22.0",
    "@tensorflow/tfjs-backend-wasm": "4.22.0",
    "@tensorflow/tfjs-backend-webgl": "4.22.0",
    "@tensorflow/tfjs-backend-webgpu": "4.22.0",
}
TFJS = ("@tensorflow/tfjs-core", "@tensorflow/tfjs-converter", "@tensorflow/tfjs-backend-wasm")


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One import of the package: its path, the engine, the backends in the order of trying, the npm packages."""

    path: str
    engine: str
    backends: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def file(self) -> str:
        """Return the name of its files, without a suffix."""
        return self.path.replace("/", "-")

    @property
    def install(self) -> str:
        return " ".join(f"{name}@{VERSIONS[name]}" for name in self.packages)


MODULE = "{type: 'module'}"
# Target -> its entry points. The first needs the smallest download.
ENTRIES = {
    "onnx": (
        EntryPoint("ort", "ort", ("wasm",), ("onnxruntime-web",)),
        EntryPoint("ort/webgpu", "ort", ("webgpu", "wasm"), ("onnxruntime-web",)),
    ),
    "litert": (
        EntryPoint("litert", "litert", ("wasm",), ("@litertjs/core",)),
        EntryPoint("litert/webgpu", "litert", ("webgpu", "wasm"), ("@litertjs/core",)),
    ),
    "tfjs": (
        EntryPoint("tfjs", "tfjs", ("wasm",), TFJS),
        EntryPoint("tfjs/webgl", "tfjs", ("webgl", "wasm"), (*TFJS, "@tensorflow/tfjs-backend-webgl")),
        EntryPoint("tfjs/webgpu", "tfjs", ("webgpu", "wasm"), (*TFJS, "@tensorflow/tfjs-backend-webgpu")),
    ),
}


class NpmPackage:
    """The generator of packages for the web."""

    ran = (
        "Hydra Mobile's tests ran this package's runtime with the portrait net in headless Chromium on Linux (ONNX "
        "Runtime Web, LiteRT.js and TF.js in WebAssembly, from JPEG to depth, in a worker and without) and in Node 20 "
        "(ONNX Runtime Web and TF.js), and built it with Vite and webpack. Of the GPU entry points only the fallback "
        "to WebAssembly ran, on a machine without a GPU. Nothing was run on a phone, in Safari or in Firefox."
    )

    def render(self, plans: Sequence[Plan]) -> Files:
        names = make_names(plans[0])
        for plan in plans[1:]:
            check_equal(plans[0], plan)
        proven_first = sorted(plans, key=lambda plan: bool(plan.unproven))
        points = [point for plan in proven_first for point in ENTRIES[plan.artifact.target]]
        files: dict[str, Content] = {"package.json": package_json(plans[0], names, points)}
        files |= {"net.js": template("net.js.j2").render(names=names, method_inputs=method_inputs, quoted=quoted)}
        files |= {"index.js": "export {HydraError} from './runtime/errors.js';\n"}
        files |= {"index.d.ts": declarations(plans[0], names), "README.md": readme(plans, names, points)}
        files |= runtime_files({point.engine for point in points})
        for plan in plans:
            files |= target_files(plan, names)
        return files | sample_files(plans[0], names, points[0])


def check_equal(first: Plan, other: Plan) -> None:
    """Raise StageError("bundle") where two artifacts of one model differ in their methods: they have one class."""
    if [outline(step) for step in first.steps] != [outline(step) for step in other.steps]:
        raise StageError(
            STAGE,
            f"{first.artifact.target} and {other.artifact.target} have other modules: bundle one --recipe of both",
        )


def outline(step: Any) -> tuple[Any, ...]:
    sources = tuple((source.port.name, source.step) for source in step.sources)
    return step.name, frozenset(sources), frozenset(step.features), frozenset(step.results)


@cache
def environment() -> Environment:
    # Nothing is HTML: JavaScript, TypeScript and Markdown.
    loader = FileSystemLoader(HERE / "templates")
    return Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


def template(name: str) -> Any:
    return environment().get_template(name)


def method_inputs(method: Method) -> str:
    """Return the members of the object of inputs: by the port's name, which may be no identifier."""
    members = []
    for port, argument in method.inputs:
        members.append(argument.name if port == argument.name else f"{quoted(port)}: {argument.name}")
    return ", ".join(members)


def package_json(plan: Plan, names: Names, points: Sequence[EntryPoint]) -> str:
    exports: dict[str, Any] = {".": {"types": "./index.d.ts", "default": "./index.js"}}
    for point in points:
        node = {"node": f"./{point.file}.node.js"} if point.path == point.engine else {}
        exports[f"./{point.path}"] = {"types": f"./{point.file}.d.ts", **node, "default": f"./{point.file}.js"}
    for engine in dict.fromkeys(point.engine for point in points):
        exports[f"./{engine}/check"] = {"types": f"./{engine}-check.d.ts", "default": f"./{engine}-check.js"}
    peers = dict.fromkeys(name for point in points for name in point.packages)
    content = {
        "name": names.npm,
        "version": plan.artifact.version if plan.artifact.version.count(".") == 2 else "0.0.0",
        "description": described(plan),
        "license": "SEE LICENSE IN LICENSE",
        "type": "module",
        "sideEffects": False,
        "engines": {"node": ">=18"},
        "exports": {**exports, "./models/*": "./models/*", "./package.json": "./package.json"},
        "types": "./index.d.ts",
        "peerDependencies": {name: f"^{VERSIONS[name]}" for name in peers},
        "peerDependenciesMeta": {name: {"optional": True} for name in peers},
    }
    return json.dumps(content, indent=2) + "\n"


def declarations(plan: Plan, names: Names) -> str:
    text: str = template("index.d.ts.j2").render(
        names=names, version=plan.artifact.version, description=in_comment(described(plan))
    )
    return text


def described(plan: Plan) -> str:
    """Return the model's description on one line."""
    return " ".join(plan.artifact.description.split()) or f"The net {plan.artifact.model}."


def in_comment(text: str) -> str:
    return " ".join(text.split()).replace("*/", "* /")


def runtime_files(engines: set[str]) -> dict[str, Content]:
    """Return the runtime, without what belongs to engines that the package has no artifact for."""
    files: dict[str, Content] = {}
    for path in sorted(SOURCES.rglob("*")):
        name = path.relative_to(SOURCES).as_posix()
        folder, _, file = name.rpartition("/")
        owned = folder in ("bundled", "workers", "node") and file not in ("npm.js", "read_file.js")
        engine = file.removesuffix(".js").partition("-")[0]
        if path.is_file() and name != "package.json" and (not owned or engine in engines):
            files[f"runtime/{name}"] = path.read_text(encoding="utf-8")
    return files


def target_files(plan: Plan, names: Names) -> dict[str, Content]:
    """Return what one artifact adds: contract, models, goldens and entry points."""
    parted, golden = parted_files(plan), golden_tensors(plan)
    target, points = plan.artifact.target, ENTRIES[plan.artifact.target]
    files: dict[str, Content] = {part: content for file in parted for part, content in file.parts.items()}
    files |= golden.files
    files[f"contract/{target}.js"] = contract_module(plan, parted, names)
    files[f"contract/{target}.golden.js"] = golden_module(golden)
    for point in points:
        files[f"{point.file}.js"] = entry_module(point, names, target)
        files[f"{point.file}.d.ts"] = entry_types(point, names)
    first = points[0]
    files[f"{first.file}.node.js"] = node_module(first, names, target)
    files[f"{first.file}-check.js"] = (
        "import {check as compare} from './runtime/check.js';\n"
        f"import {{GOLDEN}} from './contract/{target}.golden.js';\n\n"
        "export const check = (net) => compare(net, GOLDEN);\n"
    )
    files[f"{first.file}-check.d.ts"] = (
        f"import type {{CheckRow, {names.net}}} from './index.js';\n\n"
        "/**\n * Compare this device with the golden outputs of the PyTorch reference.\n *\n"
        " * @throws {HydraError} with the code `golden` where an output is off by more than is allowed\n */\n"
        f"export declare function check(net: {names.net}): Promise<CheckRow[]>;\n"
    )
    return files


def contract_module(plan: Plan, parted: Sequence[Parted], names: Names) -> str:
    rows = [row for file in parted for row in file.rows]
    lines = [f"  {quoted(row.path)}: {url('models', row.path)}," for row in rows]
    return (
        f"// {plan.artifact.target}/{plan.artifact.recipe}: modules and files, as artifact.json seals them.\n\n"
        f"export const CONTRACT = {json.dumps(contract(plan, tuple(parted), names.keys), indent=1)};\n\n"
        "// A bundler reads each of these lines and copies the file.\n"
        "export const URLS = {\n" + "\n".join(lines) + "\n};\n"
    )


def url(folder: str, path: str) -> str:
    return f"new URL('../{folder}/{path}', import.meta.url).href"


def golden_module(golden: Golden) -> str:
    def row(record: FileRecord) -> str:
        head = f"path: {quoted(record.path)}, bytes: {record.bytes}, sha256: {quoted(record.sha256)}"
        return f"{{{head}, url: {url('golden', record.path)}}}"

    inputs = [f"    {quoted(name)}: {row(record)}," for name, record in golden.inputs.items()]
    outputs = [
        f"    {quoted(name)}: {{allowed: {allowed!r}, file: {row(record)}}},"
        for name, (record, allowed) in golden.outputs.items()
    ]
    lines = ["export const GOLDEN = {", "  inputs: {", *inputs, "  },", "  outputs: {", *outputs, "  },", "};", ""]
    return "\n".join(lines)


def entry_module(point: EntryPoint, names: Names, target: str) -> str:
    return (
        f"import {{CONTRACT, URLS}} from './contract/{target}.js';\n"
        f"import {{{names.net}}} from './net.js';\n"
        "import {load as loadNet} from './runtime/load.js';\n\n"
        "const ENTRY = {\n"
        f"  engine: '{point.engine}',\n"
        f"  backends: {json.dumps(point.backends)},\n"
        "  contract: CONTRACT,\n"
        "  urls: URLS,\n"
        f"  worker: () => new Worker(new URL('./runtime/workers/{point.file}.js', import.meta.url), {MODULE}),\n"
        f"  inline: () => import('./runtime/bundled/{point.file}.js'),\n"
        "};\n\n"
        f"export const load = (options) => loadNet({names.net}, ENTRY, options);\n"
    )


def node_module(point: EntryPoint, names: Names, target: str) -> str:
    return (
        f"import {{CONTRACT, URLS}} from './contract/{target}.js';\n"
        f"import {{{names.net}}} from './net.js';\n"
        "import {load as loadNet} from './runtime/load.js';\n"
        "import {readFile} from './runtime/node/read_file.js';\n\n"
        "const ENTRY = {\n"
        f"  engine: '{point.engine}',\n"
        f"  backends: {json.dumps(point.backends)},\n"
        "  contract: CONTRACT,\n"
        "  urls: URLS,\n"
        f"  inline: () => import('./runtime/node/{point.engine}.js'),\n"
        "  readFile,\n"
        "};\n\n"
        f"export const load = (options) => loadNet({names.net}, ENTRY, {{...options, worker: false}});\n"
    )


def entry_types(point: EntryPoint, names: Names) -> str:
    backends = " | ".join(f"'{backend}'" for backend in point.backends)
    return (
        f"import type {{LoadOptions, {names.net}}} from './index.js';\n\n"
        "export * from './index.js';\n\n"
        "/**\n * Download, check and open the net.\n *\n * @throws {HydraError}\n */\n"
        f"export declare function load(options?: LoadOptions<{backends}>): Promise<{names.net}>;\n"
    )


def readme(plans: Sequence[Plan], names: Names, points: Sequence[EntryPoint]) -> str:
    photo = any(port.kind == PHOTO for step in plans[0].steps for port in step.asked)
    engines = dict.fromkeys(name for point in points for name in point.packages if name.startswith(("onnx", "@litert")))
    text: str = template("README.md.j2").render(
        names=names,
        description=described(plans[0]),
        license=plans[0].artifact.license,
        proofs=[proof.summary(plan) for plan in plans],
        first=points[0],
        entries=points,
        start=start_code(names),
        photo=photo,
        arguments=dict.fromkeys(argument for method in names.methods for _, argument in method.inputs),
        excluded="".join(f", '{name}'" for name in engines),
        ran=NpmPackage.ran,
    )
    return text


def start_code(names: Names) -> str:
    """Return the first calls of an app: a whole where there is one, else step after step."""
    wholes = [method for method in names.methods if method.whole]
    if wholes:
        return call(wholes[-1], names, {})
    known: dict[str, str] = {}
    return "\n".join([call(method, names, known) for method in names.methods])


def call(method: Method, names: Names, known: dict[str, str]) -> str:
    """Return a line that calls a method. `known` maps types of features to variables."""
    given = [known.get(argument.type, argument.name) for argument in method.arguments]
    words = f"await net.{method.name}({', '.join(given)});"
    if method.keeps and not method.returns:
        variable = f"features{len(known) or ''}"
        known[method.result] = variable
        return f"const {variable} = {words}"
    fields = names.results[method.result]
    for field in fields:
        if field.name == "features":
            known[field.type] = "features"
    return f"const {{{', '.join(field.name for field in fields)}}} = {words}"


def sample_files(plan: Plan, names: Names, point: EntryPoint) -> dict[str, Content]:
    """Return the app of one screen, below samples/web."""
    one = first_map(plan, names)
    script: str = template("sample.js.j2").render(names=names, point=point, one=one, quoted=quoted)
    page: str = template("sample.html.j2").render(names=names, photo=one is not None)
    content = {
        "name": f"{names.npm}-sample",
        "private": True,
        "type": "module",
        "scripts": {"dev": "vite", "build": "vite build"},
        "dependencies": {names.npm: "file:../..", **{name: VERSIONS[name] for name in point.packages}},
        "devDependencies": {"vite": "^8.4.0"},
    }
    excluded = ", ".join(f"'{name}'" for name in (names.npm, *point.packages) if not name.startswith("@tensorflow"))
    config = (
        f"export default {{\n  optimizeDeps: {{exclude: [{excluded}]}},\n"
        "  server: {fs: {allow: ['../..']}}, // the package lies outside this folder\n};\n"
    )
    base = "samples/web"
    return {
        f"{base}/package.json": json.dumps(content, indent=2) + "\n",
        f"{base}/index.html": page,
        f"{base}/main.js": script,
        f"{base}/vite.config.js": config,
    }


@dataclass(frozen=True, slots=True)
class MapCall:
    """How to get a map from one photo: a whole's method, or a first step's and a head's. `field` is in the result."""

    first: str
    head: str
    field: str


def first_map(plan: Plan, names: Names) -> MapCall | None:
    """Return the call for the first one-channel map of one photo; None where the net has none."""
    maps = {names.keys[port.name] for step in plan.steps for port in step.entry.outputs if is_map(port)}
    for method in sorted(names.methods, key=lambda method: not method.whole):
        asks = [argument.type for argument in method.arguments]
        fields = [field.name for field in names.results.get(method.result, ()) if field.name in maps]
        if asks == ["Photo"] and fields:
            return MapCall(method.name, "", fields[0])
    starts = {
        method.result: method.name
        for method in names.methods
        if method.keeps and not method.returns and [argument.type for argument in method.arguments] == ["Photo"]
    }
    for method in names.methods:
        asks = [argument.type for argument in method.arguments]
        fields = [field.name for field in names.results.get(method.result, ()) if field.name in maps]
        if len(asks) == 1 and asks[0] in starts and fields:
            return MapCall(starts[asks[0]], method.name, fields[0])
    return None
