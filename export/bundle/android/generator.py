"""Write the package for Android: a Gradle library module on LiteRT, its tests with the golden, and a sample app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from export.bundle import proof
from export.bundle.android.kotlin import Argument, Net, comment, literal, names_code, port_code
from export.bundle.android.sample import choose_sample, from_pixels
from export.bundle.package import Content, Files, model_files
from export.bundle.plan import STAGE, Plan
from hydramobile.artifact import ships
from hydramobile.errors import StageError

HOME = Path(__file__).parent
# The package line of the sources, which each package replaces by its own name.
TEMPLATE_PACKAGE = "hydramobile.template"
RAN = (
    "The tests of Hydra Mobile compile packages of this generator, with their tests and sample app, with Kotlin "
    "2.4.20 on Linux, against stubs of the Android and LiteRT classes that they use. On the JVM there they run "
    "the resize, the orientations, packing, unpacking, pictures and the golden reader against goldens made by "
    "Python, and the class of the net with its instrumented test, with LiteRT 2.3.0 for Linux behind the stubs. "
    "The sample's activity is compiled only. Gradle has not built this package, and it has not run on Android."
)
# Since Android 12 an app must name the vendor's libraries that LiteRT's GPU accelerator loads:
# https://developer.android.com/about/versions/12/behavior-changes-12#vendor-supplied-native-shared-libraries
MANIFEST = """<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android">
    <application>
        <uses-native-library android:name="libvndksupport.so" android:required="false" />
        <uses-native-library android:name="libOpenCL.so" android:required="false" />
        <uses-native-library android:name="libOpenCL-pixel.so" android:required="false" />
    </application>
</manifest>
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of the build: the LiteRT that judged the files, and the Kotlin that compiles sources in tests."""

    litert: str = "2.3.0"
    kotlin: str = "2.4.20"
    agp: str = "8.13.0"
    gradle: str = "8.14.4"
    coroutines: str = "1.10.2"
    compile_sdk: int = 36
    min_sdk: int = 24


class GradleModule:
    """Generate the package of the LiteRT artifact."""

    ran = RAN

    def render(self, plans: Sequence[Plan]) -> Files:
        """Return the files of the package. See Generator."""
        (plan,) = plans
        net = Net(plan)
        files: dict[str, Content] = {
            **library(net),
            **goldens(net),
            **sample_app(net),
            "README.md": fill("README.md", net),
            "settings.gradle.kts": fill("settings.gradle.kts", net),
            "build.gradle.kts": fill("build.gradle.kts", net),
            "gradle.properties": "android.useAndroidX=true\norg.gradle.jvmargs=-Xmx2g\n",
            "gradle/wrapper/gradle-wrapper.properties": (
                "distributionBase=GRADLE_USER_HOME\ndistributionPath=wrapper/dists\n"
                f"distributionUrl=https\\://services.gradle.org/distributions/gradle-{Versions().gradle}-bin.zip\n"
                "zipStoreBase=GRADLE_USER_HOME\nzipStorePath=wrapper/dists\n"
            ),
            ".gitignore": ".gradle/\n.kotlin/\nbuild/\nlocal.properties\n",
        }
        return files


def library(net: Net) -> dict[str, Content]:
    """Return the library module: its build, the model's files, the static sources and the class of the net."""
    root = net.module
    kotlin = f"{root}/src/main/kotlin/{net.package.replace('.', '/')}"
    assets = f"{root}/src/main/assets/{net.module}"
    return {
        f"{root}/build.gradle.kts": fill("library.gradle.kts", net),
        f"{root}/src/main/AndroidManifest.xml": MANIFEST,
        **model_files(net.plan, assets, [record.path for record in ships(net.plan.artifact)]),
        **sources("main", kotlin, net),
        f"{kotlin}/{net.name}.kt": fill("net.kt", net),
    }


def goldens(net: Net) -> dict[str, Content]:
    """Return the golden, and the tests that read it on the JVM and on a device."""
    plan, root, folder = net.plan, net.module, net.package.replace(".", "/")
    entries = [plan.golden["entries"][step.entry.id] for step in plan.steps]
    entries += [plan.golden["entries"][whole.name] for whole in plan.wholes if whole.name in plan.golden["entries"]]
    ports = [port for entry in entries for side in ("inputs", "outputs") for port in entry[side].values()]
    source = plan.artifact.golden["folder"]
    paths = {f"{source}/{port['file']}" for port in ports}
    copied = model_files(plan, "", sorted(paths))
    return {
        **{f"{root}/src/golden/files/golden/{path.removeprefix(f'{source}/')}": file for path, file in copied.items()},
        **sources("golden", f"{root}/src/golden/kotlin/{folder}", net),
        **sources("test", f"{root}/src/test/kotlin/{folder}", net),
        f"{root}/src/golden/kotlin/{folder}/GoldenFiles.kt": fill("GoldenFiles.kt", net),
        f"{root}/src/androidTest/kotlin/{folder}/{net.name}Test.kt": fill("NetTest.kt", net),
    }


def sample_app(net: Net) -> dict[str, Content]:
    """Return the sample app."""
    root, folder = "samples/android", f"{net.package.replace('.', '/')}/sample"
    kotlin = f"{root}/src/main/kotlin/{folder}"
    return {
        f"{root}/build.gradle.kts": fill("sample.gradle.kts", net),
        f"{root}/src/main/AndroidManifest.xml": fill("SampleManifest.xml", net),
        **(sources("sample", kotlin, net) if choose_sample(net).plane else {}),
        f"{kotlin}/MainActivity.kt": fill("MainActivity.kt", net),
    }


def usage(net: Net) -> str:
    """Return the lines of README that run the net: features and one head, and a fused entry where there is one."""
    lines = []
    first = next((method for method in net.methods if method.features), None)
    heads = [method for method in net.methods if first and method.reads and set(method.reads) == {method.reads[0]}]
    if first and heads:
        head = next((item for item in heads if len(item.arguments) == 1), heads[0])
        lines.append(f"val features = net.{first.verb}({words(first.arguments)})")
        rest = words(head.arguments[1:])
        lines.append(f"val result = net.{head.verb}(features{', ' + rest if rest else ''})")
        lines.append("features.close()")
    elif net.methods:
        method = next(item for item in net.methods if not item.reads)
        lines.append(f"val result = net.{method.verb}({words(method.arguments)})")
    for whole in net.wholes:
        fields = ", ".join(field.name for field, _ in whole.fields)
        lines.append(f"val all = net.{whole.verb}({words(whole.arguments)}) // {fields}")
    shown = next((field for method in net.methods for field in method.fields if field.type == "Plane"), None)
    if shown and any(item.type == "Photo" for method in net.methods for item in method.arguments):
        lines.append(f"imageView.setImageBitmap(result.{shown.name}.image(photo.width, photo.height))")
    return "\n".join(lines)


def words(arguments: Sequence[Argument]) -> str:
    return ", ".join("photo" if item.type == "Photo" else item.name for item in arguments)


def sources(folder: str, target: str, net: Net) -> dict[str, Content]:
    """Return the static sources of a folder, in the package of the net."""
    return {
        f"{target}/{path.name}": path.read_text(encoding="utf-8").replace(TEMPLATE_PACKAGE, net.package)
        for path in sorted((HOME / "sources" / folder).glob("*.kt"))
    }


def golden_rows(plan: Plan) -> list[tuple[object, list[tuple[str, str]], list[tuple[str, str, float]]]]:
    """Return each step with the golden files of its inputs and outputs, by the names of the ports."""
    rows: list[tuple[object, list[tuple[str, str]], list[tuple[str, str, float]]]] = []
    for step in plan.steps:
        entry = plan.golden["entries"][step.entry.id]
        inputs = [(port.name, entry["inputs"][port.file_name]["file"]) for port in step.entry.inputs]
        outputs = [
            (port.name, entry["outputs"][port.file_name]["file"], float(entry["outputs"][port.file_name]["mean_abs"]))
            for port in step.entry.outputs
        ]
        rows.append((step, inputs, outputs))
    return rows


def fill(name: str, net: Net) -> str:
    """Render a template. Raises StageError("bundle") where a file of the model has no signature."""
    plan = net.plan
    for step in plan.steps:
        if not step.entry.function:
            raise StageError(STAGE, f"{step.name!r} has no signature in {step.entry.file}")
    environment = Environment(
        loader=FileSystemLoader(HOME / "templates"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.globals.update(
        comment=comment,
        literal=literal,
        port_code=port_code,
        names_code=names_code,
        asset=lambda path: f"{net.module}/{path}",
        parameters=lambda method: ", ".join(f"{item.name}: {item.type}" for item in method.arguments),
        given=lambda method: (
            f"mapOf({', '.join(f'{name} to {packed}' for name, packed in method.inputs)})"
            if method.inputs
            else "emptyMap<String, Any>()"
        ),
    )
    return environment.get_template(f"{name}.j2").render(
        net=net,
        plan=plan,
        artifact=plan.artifact,
        steps=plan.steps,
        files=ships(plan.artifact),
        goldens=golden_rows(plan),
        photos=[(step, port) for step in plan.steps for port in step.photos],
        planes=any(field.type == "Plane" for method in net.methods for field in method.fields),
        features=any(method.features for method in net.methods),
        pixels=from_pixels(net),
        sample=choose_sample(net),
        versions=Versions(),
        usage=usage(net),
        summary=proof.summary(plan),
        ran=RAN,
    )
