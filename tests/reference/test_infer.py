"""`python -m reference infer`: its pictures, for good and bad photos."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from hydramobile.errors import StageError
from hydramobile.loader import load_modules
from hydramobile.preprocess import load_photo, to_tensor
from hydramobile.spec import load_spec
from reference.infer import colored, enlarge, run

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "models" / "portrait" / "samples"


def reference(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reference", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def verdict(result: subprocess.CompletedProcess[str]) -> str:
    return (result.stdout + result.stderr).strip().splitlines()[-1]


def test_infer_writes_maps_of_the_whole_photo(tmp_path: Path) -> None:
    photo = tmp_path / "wide.jpg"
    with Image.open(SAMPLES / "grace-hopper.jpg") as image:
        image.save(photo)
        size = image.size
    result = reference("infer", photo, "--out", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["net_size"] == [256, 192] and report["photo_size"] == [size[1], size[0]]
    assert [Path(path).name for path in report["files"]] == ["depth.png", "matte.png", "side-by-side.png"]
    with Image.open(tmp_path / "out" / "depth.png") as depth, Image.open(tmp_path / "out" / "matte.png") as matte:
        assert depth.mode.startswith("I;16") and matte.mode == "L" and depth.size == matte.size == size
        near, alpha = np.asarray(depth).astype(float) / 65535, np.asarray(matte) / 255
    # The face is person, the flag beside it is not, and the person is nearer than the background.
    assert alpha[200, 280] > 0.9 and alpha[60, 60] < 0.1
    assert np.median(near[alpha > 0.9]) > np.median(near[alpha < 0.1]) + 0.1
    assert report["depth_median"] == pytest.approx(np.median(near[alpha > 0.9]), abs=0.02)


def test_infer_takes_landscape_heic_at_the_landscape_size(tmp_path: Path) -> None:
    with Image.open(SAMPLES / "render-107.jpg") as image:
        pillow_heif.from_pillow(image).save(tmp_path / "phone.heic")
    result = reference("infer", tmp_path / "phone.heic", "--out", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["net_size"] == [192, 256]


def test_infer_overwrites_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "matte.png").write_bytes(b"mine")
    result = reference("infer", SAMPLES / "astronaut.png", "--out", tmp_path)
    assert result.returncode == 2 and "matte.png" in verdict(result) and "--overwrite" in verdict(result)
    assert (tmp_path / "matte.png").read_bytes() == b"mine" and not (tmp_path / "depth.png").exists()
    assert reference("infer", SAMPLES / "astronaut.png", "--out", tmp_path, "--overwrite").returncode == 0
    assert (tmp_path / "matte.png").read_bytes() != b"mine"


def test_a_bad_photo_fails_its_stage_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes((SAMPLES / "astronaut.png").read_bytes()[:5000])
    result = reference("infer", tmp_path / "broken.jpg", "--out", tmp_path / "out")
    assert result.returncode == 3 and verdict(result).startswith("verdict: 3 photo:")
    assert "broken.jpg" in verdict(result) and not (tmp_path / "out").exists()


def test_a_missing_model_is_bad_usage(tmp_path: Path) -> None:
    result = reference("infer", SAMPLES / "astronaut.png", "--out", tmp_path / "out", "--model", tmp_path)
    assert result.returncode == 2 and "model.toml" in verdict(result)


def test_a_non_finite_output_is_refused() -> None:
    spec = load_spec(ROOT / "models" / "portrait")
    image = np.full((1, 3, 64, 64), np.nan, np.float32)
    with pytest.raises(StageError, match="NaN or infinite"):
        run(load_modules(spec), spec, image)


def test_help_does_not_wait_for_torch() -> None:
    started = time.perf_counter()
    assert reference("--help").returncode == 0
    assert time.perf_counter() - started < 2, "torch alone takes longer to import"
    code = "import sys, reference.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_enlarge_keeps_range_and_place() -> None:
    field = np.zeros((8, 6), np.float32)
    field[0, 0] = 1
    large = enlarge(field, (60, 80))
    assert large.shape == (80, 60) and large[0, 0] == 1 and large[40, 30] == 0 and 0 <= large.min() <= large.max() <= 1


def test_colors_run_from_dark_to_bright() -> None:
    brightness = colored(np.linspace(-1, 2, 50, dtype=np.float32)[None]).sum(axis=2)[0]
    assert np.all(np.diff(brightness) >= 0) and brightness[0] < 150 < 450 < brightness[-1]


def test_infer_and_the_tensor_contract_agree() -> None:
    """infer and parity run the same modules on the same tensor."""
    spec = load_spec(ROOT / "models" / "portrait")
    image = to_tensor(load_photo(SAMPLES / "astronaut.png"), spec.size)
    outputs = run(load_modules(spec), spec, image)
    assert set(outputs) == {"image", "f2", "f4", "f8", "f16", "f32", "depth", "alpha"}
    assert outputs["alpha"].shape == outputs["depth"].shape == (1, 1, *spec.size)
