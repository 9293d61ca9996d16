"""Write the Swift package of a net: an actor with a method per module around the sealed Core ML packages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from export.bundle import proof
from export.bundle.ios.sample import sample_files
from export.bundle.ios.surface import Surface, axes, surface
from export.bundle.package import Content, Files, model_files
from export.bundle.plan import STAGE, Plan, Step
from hydramobile.artifact import Artifact, Entry, Port, files_of, primary
from hydramobile.errors import StageError

HERE = Path(__file__).parent
SOURCES = HERE / "sources"
TEMPLATES = HERE / "templates"
SEPARATE = "separate"
# The systems from which Core ML reads a package of several functions.
MULTIFUNCTION = {"ios": 18, "macos": 15}
# macOS and iOS share Core ML's versions at this distance.
MACOS_BEHIND = 3
# The name of the plain Swift module in the static sources, which the package's own name replaces.
CORE = "HydraCore"
TARGET = "coreml"


class SwiftPackage:
    """The generator of `bundle ios`."""

    ran = (
        "On Linux, by Swift 6.0: the plain Swift target (resize, layouts, strides, half precision, maps) was compiled "
        "and compared with Python; the target around Core ML and its tests were type-checked with complete checks of "
        "concurrency, and run against stubs of Apple's frameworks; the sample was type-checked against such stubs. "
        "Nothing of it ran in Xcode, on an iPhone or on a Mac: run the package's tests there first."
    )

    def render(self, plans: Sequence[Plan]) -> Files:
        """Return the files of the package. Raises StageError("bundle") for a tensor that Core ML cannot take."""
        plan = core_ml(plans)
        package = plan.package
        methods = surface(plan)
        files: dict[str, Content] = {}
        for folder, target in (("Core", f"{package}Core"), ("Net", package)):
            for path in sorted((SOURCES / folder).glob("*.swift")):
                files[f"Sources/{target}/{path.name}"] = static(path, package)
        for path in sorted((SOURCES / "Tests").glob("*.swift")):
            files[f"Tests/{package}Tests/{path.name}"] = static(path, package)
        values = template_values(plan, methods)
        for name, target in (
            ("Package.swift.j2", "Package.swift"),
            ("Net.swift.j2", f"Sources/{package}/{package}.swift"),
            ("Manifest.swift.j2", f"Sources/{package}/NetManifest.swift"),
            ("README.md.j2", "README.md"),
        ):
            files[target] = render(TEMPLATES / name, values)
        files |= model_files(plan, f"Sources/{package}/Models", [path for path, _ in values["hashes"]])
        golden = f"{plan.artifact.golden['folder']}/"
        for record in plan.artifact.files:
            if record.path.startswith(golden):
                target = f"Tests/{package}Tests/Golden/{record.path.removeprefix(golden)}"
                files[target] = plan.folder / record.path
        return files | sample_files(values, render)


def core_ml(plans: Sequence[Plan]) -> Plan:
    """Return the plan of the Core ML artifact. Raises StageError("bundle") where there is none."""
    plan = next((plan for plan in plans if plan.artifact.target == TARGET), None)
    if plan is None:
        raise StageError(STAGE, f"the package for iOS is made of a {TARGET} artifact, and none was chosen")
    return plan


def static(path: Path, package: str) -> str:
    """Return a static source with the name of this package's modules."""
    text = path.read_text(encoding="utf-8")
    return text.replace(f"import {CORE}", f"import {package}Core").replace("import HydraNet", f"import {package}")


def render(template: Path, values: dict[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Swift and Markdown, not HTML: `quoted` and `comment` write every string of a net.
        autoescape=False,
    )
    environment.filters |= {"quoted": quoted, "number": number, "comment": comment}
    text: str = environment.get_template(template.name).render(values)
    return text


def template_values(plan: Plan, methods: Surface) -> dict[str, Any]:
    """Return the variables of all templates."""
    ios = deployment(plan.artifact)
    return {
        "package": plan.package,
        "plan": plan,
        "artifact": plan.artifact,
        "ios": f"{ios}.0",
        "macos": f"{ios - MACOS_BEHIND}.0",
        "joint": any(entry.function for entry in model_variants(plan)),
        "old_systems": ios < MULTIFUNCTION["ios"],
        "surface": methods,
        "modules": [module_values(plan, step) for step in plan.steps],
        "hashes": model_hashes(plan),
        "summary": proof.summary(plan),
        "ran": SwiftPackage.ran,
        "photos": [port for step in plan.steps for port in step.photos],
    }


def deployment(artifact: Artifact) -> int:
    """Return the oldest iOS that runs the package."""
    requires = artifact.requires
    return int(float(requires.get("ios-separate", requires["ios"])))


def model_variants(plan: Plan) -> list[Entry]:
    """Return the entries whose files the package holds: of each module, and its separate copy for older systems."""
    entries = [step.entry for step in plan.steps]
    modules = {entry.modules for entry in entries}
    if deployment(plan.artifact) < MULTIFUNCTION["ios"]:
        entries += [entry for entry in plan.artifact.entries if entry.variant == SEPARATE and entry.modules in modules]
    unique = {entry.file: entry for entry in reversed(entries)}
    return [entry for entry in entries if unique[entry.file] is entry]


def model_hashes(plan: Plan) -> list[tuple[str, str]]:
    records = {record for entry in model_variants(plan) for record in files_of(plan.artifact, entry)}
    return sorted((record.path, record.sha256) for record in records)


def module_values(plan: Plan, step: Step) -> dict[str, Any]:
    """Return the row of one module in the manifest."""
    apart = [
        entry for entry in plan.artifact.entries if entry.variant == SEPARATE and entry.modules == step.entry.modules
    ]
    separate = apart[0].file if apart and deployment(plan.artifact) < MULTIFUNCTION["ios"] else step.entry.file
    if step.entry not in primary(plan.artifact):
        raise StageError(STAGE, f"{step.name!r} is no entry of the default variant")
    return {
        "name": step.name,
        "function": step.entry.function,
        "joint": step.entry.file if step.entry.function else None,
        "separate": separate,
        "inputs": [port_code(source.port) for source in step.sources],
        "outputs": [port_code(port) for port in step.entry.outputs],
        "features": list(step.features),
        "results": list(step.results),
    }


def port_code(port: Port) -> str:
    """Return the expression of a port in Swift."""
    words = [quoted(port.name), f"file: {quoted(port.file_name)}", f"shape: {list(port.shape)}", f"type: .{port.dtype}"]
    if axes(port) != tuple(range(len(port.shape))):
        words.append(f"axes: {list(axes(port))}")
    if port.scale != 1:
        words.append(f"scale: {number(port.scale)}")
    if port.zero_point:
        words.append(f"zeroPoint: {number(port.zero_point)}")
    if port.range:
        words.append(f"range: {number(port.range[0])}...{number(port.range[1])}")
    return f"TensorPort({', '.join(words)})"


def quoted(text: str) -> str:
    """Return a Swift string literal."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    chars = (escapes.get(char, char if char.isprintable() else f"\\u{{{ord(char):x}}}") for char in text)
    return f'"{"".join(chars)}"'


def number(value: float) -> str:
    """Return a Swift literal of a float."""
    return repr(float(value))


def comment(text: str | Iterable[str]) -> str:
    """Return text as one line that no comment can end."""
    return " ".join((text if isinstance(text, str) else " ".join(text)).split())
