"""Archives of torch.export are read as data: the net computes what PyTorch computes, and nothing in a file is run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hydramobile.errors import ExitCode
from hydramobile.pt2.archive import ArchiveError, read_archive
from hydramobile.pt2.net import ArchivedNet, graph_of, net_of


class Mixed(nn.Module):
    """Two convolutions, norms of both ranks, an embedding, a constant, a no_grad region, a dict of nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, groups=2)
        self.names = nn.ModuleDict({"a-b": nn.Linear(4, 5)})
        self.table = nn.Embedding(10, 5)
        self.flat = nn.BatchNorm1d(5)
        self.register_buffer("gain", torch.arange(1.0, 6.0))

    def forward(self, image: Tensor, word: Tensor) -> dict[str, Any]:
        x = torch.relu(self.up(self.norm(self.conv(image)))).mean((2, 3))
        with torch.no_grad():
            doubled = x * 2
        top, index = x.topk(2)
        scores = self.flat(self.names["a-b"](x) + self.table(word)) * self.gain * torch.tensor(3.0)
        return {"scores": scores, "more": (doubled.chunk(2, 1), None, top), "index": index}


@pytest.fixture(scope="module")
def mixed() -> Mixed:
    torch.manual_seed(3)
    net = Mixed()
    net(torch.rand(4, 3, 8, 8), torch.tensor([1, 2, 3, 4]))  # statistics of the norms
    return net.eval()


def save(net: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> Path:
    torch.export.save(torch.export.export(net, inputs, strict=False, **options), path)
    return path


@pytest.fixture(scope="module")
def saved(mixed: Mixed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = (torch.rand(1, 3, 8, 8), torch.tensor([7]))
    return save(mixed, inputs, tmp_path_factory.mktemp("pt2") / "net.pt2")


def load(path: Path) -> ArchivedNet:
    return net_of(read_archive(path))


def test_it_computes_what_the_net_computes(mixed: Mixed, saved: Path) -> None:
    net = load(saved)
    assert [(item.name, item.shape, item.dtype) for item in graph_of(net).inputs] == [
        ("image", (1, 3, 8, 8), "float32"),
        ("word", (1,), "int64"),
    ]
    example = graph_of(net).inputs[1].sample
    assert example is not None and int(example) == 7
    assert graph_of(net).output_names == ("scores", "more_0_0", "more_0_1", "more_2", "index")
    image, word = torch.rand(1, 3, 8, 8), torch.tensor([4])
    wanted = mixed(image, word)
    expected = [wanted["scores"], *wanted["more"][0], wanted["more"][2], wanted["index"]]
    for result, value in zip(net(image, word), expected, strict=True):
        assert torch.equal(result, value)


def test_layers_have_their_names_and_can_be_filled(mixed: Mixed, saved: Path) -> None:
    net = load(saved)
    kinds = {name: type(module) for name, module in net.named_modules()}
    assert kinds["conv"] is nn.Conv2d and kinds["up"] is nn.ConvTranspose2d and kinds["norm"] is nn.BatchNorm2d
    assert kinds["flat"] is nn.BatchNorm1d and kinds["table"] is nn.Embedding and kinds["names.a_b"] is nn.Linear
    state = net.state_dict()
    assert {"conv.weight", "norm.running_var", "gain"} <= set(state)
    net.load_state_dict({name: value * 0 for name, value in state.items()}, strict=True)
    assert not net(torch.rand(1, 3, 8, 8), torch.tensor([4]))[0].any()


def test_symbolic_sizes_follow_from_the_inputs(tmp_path: Path) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(x.shape[0], x.shape[1] * x.shape[2]).cumsum(1) / x.shape[2]

    shapes = {"x": {0: torch.export.Dim("n"), 2: torch.export.Dim("t")}}
    net = load(save(Net(), (torch.rand(2, 3, 4),), tmp_path / "net.pt2", dynamic_shapes=shapes))
    x = torch.rand(1, 3, 9)
    assert torch.equal(net(x)[0], Net()(x))
    again = torch.export.export(net, (x,), strict=False)
    assert torch.equal(again.module()(x)[0], Net()(x))


def test_shared_weights_stay_functional_and_right(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(self.layer(x))
            return y

    torch.manual_seed(0)
    net, x = Net().eval(), torch.rand(2, 4)
    assert torch.equal(load(save(net, (x,), tmp_path / "net.pt2"))(x)[0], net(x))


def rewrite(path: Path, target: Path, change: Callable[[str, bytes], bytes | None], **added: bytes) -> Path:
    """Copy an archive with changed members; `added` are further ones, "." written as "__"."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in added.items():
            new.writestr(f"{root}/{name}", content)
    return target


class Bomb:
    """Pickles as a call that leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def bomb(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": Bomb(path)}, buffer)
    return buffer.getvalue()


def test_example_inputs_that_are_code_are_not_run(saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    hostile = rewrite(
        saved, tmp_path / "h.pt2", lambda name, data: bomb(mark) if name.startswith("data/sample_inputs") else data
    )
    archive = read_archive(hostile)
    assert archive.samples == ()
    assert "data/sample_inputs/model.pt holds objects that are not tensors" in archive.samples_refused
    assert graph_of(net_of(archive)).inputs[0].sample is None
    assert not mark.exists()


def pickled(kind: str) -> Callable[[str, bytes], bytes | None]:
    def change(name: str, data: bytes) -> bytes | None:
        if name == f"data/{kind}/model_{kind}_config.json":
            config = json.loads(data)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config).encode()
        return data

    return change


@pytest.mark.parametrize("kind", ["weights", "constants"])
def test_weights_that_are_code_are_refused_by_name(saved: Path, tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "ran"
    first = rewrite(saved, tmp_path / "first.pt2", pickled(kind))
    member = f"data/{kind}/" + ("weight_0" if kind == "weights" else "tensor_0")
    hostile = rewrite(first, tmp_path / "h.pt2", lambda name, data: bomb(mark) if name == member else data)
    with pytest.raises(ArchiveError, match=f"{member} holds objects that are not tensors") as error:
        read_archive(hostile)
    assert error.value.exit_code is ExitCode.USAGE
    assert not mark.exists()


def test_an_opaque_object_is_refused(saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def change(name: str, data: bytes) -> bytes | None:
        if name == "data/constants/model_constants_config.json":
            config = json.loads(data)
            config["config"]["evil"] = {
                "path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None
            }  # fmt: skip
            return json.dumps(config).encode()
        return data

    hostile = rewrite(saved, tmp_path / "h.pt2", change, **{"data/constants/opaque_obj_0": pickle.dumps(Bomb(mark))})
    with pytest.raises(ArchiveError, match="opaque_obj_0 holds objects that are not tensors"):
        read_archive(hostile)
    assert not mark.exists()


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    def apply(name: str, data: bytes) -> bytes:
        if not name.startswith("models/"):
            return data
        program = json.loads(data)
        change(program["graph_module"])
        return json.dumps(program).encode()

    return apply


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.load_library",
        "torch._C._dispatch_has_kernel.__self__.x.y",
        "_operator.attrgetter",
        "#bundle:op",
        "os.system",
        "torch.ops.aten.relu.__globals__",
    ],
)
def test_a_target_that_is_no_op_is_refused(saved: Path, tmp_path: Path, target: str) -> None:
    def change(graph: dict[str, Any]) -> None:
        graph["graph"]["nodes"][0]["target"] = target

    with pytest.raises(ArchiveError, match="is not one of torch's own"):
        load(rewrite(saved, tmp_path / "h.pt2", edited(change)))


def test_text_in_sizes_names_and_structures_is_not_evaluated(mixed: Mixed, saved: Path, tmp_path: Path) -> None:
    """torch.export.load evaluates symbolic sizes and argument names, and imports the modules of a structure."""
    mark = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def change(graph: dict[str, Any]) -> None:
        for facts in graph["graph"]["tensor_values"].values():
            facts["sizes"] = [
                {"as_expr": {"expr_str": code, "hint": {"as_int": size["as_int"]}}} for size in facts["sizes"]
            ]
        call = next(item for item in graph["module_call_graph"] if item["fqn"] == "")["signature"]
        call["forward_arg_names"] = [f"image={code}", "word"]
        call["out_spec"] = call["out_spec"].replace("builtins.tuple", "collections.defaultdict")

    net = load(rewrite(saved, tmp_path / "h.pt2", edited(change)))
    image, word = torch.rand(1, 3, 8, 8), torch.tensor([4])
    assert torch.equal(net(image, word)[0], mixed(image, word)["scores"])
    assert not mark.exists()


def test_compiled_code_is_refused(saved: Path, tmp_path: Path) -> None:
    name = "data/aotinductor/model/lib.so"
    hostile = rewrite(saved, tmp_path / "h.pt2", lambda _, data: data, **{name: b"\x7fELF"})
    with pytest.raises(ArchiveError, match=f"{name} is compiled code"):
        read_archive(hostile)


def test_training_mode_is_refused_with_the_remedy(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()).train()
    with pytest.raises(ArchiveError, match=r"call net\.eval\(\) before torch\.export\.export"):
        load(save(net, (torch.rand(2, 4),), tmp_path / "net.pt2"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"text", "is no .pt2 archive"), (None, "there is no such file")],
)
def test_a_file_that_is_none_says_so(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "net.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArchiveError, match=message):
        read_archive(path)


def test_a_truncated_graph_says_so(saved: Path, tmp_path: Path) -> None:
    damaged = rewrite(saved, tmp_path / "d.pt2", lambda name, data: b"{}" if name.startswith("models/") else data)
    with pytest.raises(ArchiveError, match="its graph cannot be read"):
        load(damaged)


def test_layers_may_have_the_names_of_the_archives_own_attributes(tmp_path: Path) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph, self.last, self.steps = (
                nn.Linear(4, 4),
                nn.Linear(4, 4),
                nn.ModuleDict({"last": nn.Linear(4, 2)}),
            )
            self.register_buffer("places", torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.steps["last"](self.last(self.graph(x) + self.places))
            return result

    torch.manual_seed(1)
    net, x = Named().eval(), torch.rand(1, 4)
    loaded = load(save(net, (x,), tmp_path / "net.pt2"))
    assert torch.equal(loaded(x)[0], net(x)) and set(loaded.state_dict()) == set(net.state_dict())
