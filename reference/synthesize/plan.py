"""The plan of a view, drawn before anything is built: framing, pose, camera, light and setting.

The distributions follow how portraits are taken: selfies at arm's length, the phone mostly at or below the chin, heads
that only half follow it, backs that lean away; then portraits taken by others, half and full length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hydramobile.errors import UsageError

Arms = Literal["free", "lap", "table", "crossed", "hips", "forward"]
ARMS: tuple[Arms, ...] = ("lap", "table", "crossed", "hips", "forward")
SEATED_ARMS: tuple[Arms, ...] = ("free", "lap", "lap", "table", "table", "crossed")
Framing = Literal["selfie", "portrait", "half", "full"]
Setting = Literal["room", "garden", "street", "backdrop"]
LIGHTS = ("soft", "side", "window", "sun", "dim", "backlit")


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one view, in degrees and decimetres.

    The camera is `distance` from the head, `elevation` above and `azimuth` to the left of straight ahead of it; `field`
    is the vertical field of view. The head is rotated against the camera by `yaw` (to its left), `pitch` (down;
    negative is thrown back) and `roll`. `place` is its position in the picture, right and up from the middle, as shares
    of half the width and height.
    """

    framing: Framing
    distance: float
    field: float
    elevation: float
    azimuth: float
    yaw: float
    pitch: float
    roll: float
    lean: float
    place: tuple[float, float]
    tilt: float
    people: int
    setting: Setting
    light: str
    hand: Literal["down", "phone", "face"]
    clutter: float
    skin: tuple[float, float] = (0.0, 1.0)
    seated: bool = False
    arms: Arms = "free"


BINS: dict[str, str] = {
    "pitch-back": "one head thrown back 20 to 45 degrees, the camera at or below the chin, as in real selfies",
    "pitch-down": "one head bowed 20 to 45 degrees",
    "yaw": "one head turned 25 to 45 degrees",
    "roll": "one head tilted 20 to 45 degrees",
    "backlit": "the light behind the person: silhouettes",
    "two": "two people",
    "three": "three people",
    "beside": "one person among objects as near as themselves",
    "near": "faces at 28 to 38 cm",
    "full": "the whole person",
    "dark-skin": "the darkest skins",
    "light-skin": "the lightest skins",
    "scene": "rooms, streets and gardens, metric everywhere",
    "standing": "the whole person as others photograph them: the camera anywhere from eyes to knees, the back straight",
    "seated": "one person on a chair or a sofa, knees towards the camera, often behind a table",
    "arms": "arms crossed, on the hips, on a table, or one reaching for the camera",
}


def draw_plan(rng: np.random.Generator, name: str = "") -> Plan:
    """Draw a plan, of the bin `name` (one of BINS) if given. Raises UsageError for another name."""
    if name and name not in BINS:
        raise UsageError(f"no bin {name!r}; there are: {', '.join(BINS)}")
    framing: Framing = "selfie" if name in ("pitch-back", "near") else _framing(rng)
    if name in ("seated", "arms") and framing in ("selfie", "portrait"):
        framing = "half"
    if name in ("full", "standing"):
        framing = "full"
    elif name not in ("", "scene", "seated") and framing == "full":
        framing = "half"
    plan = _portrait(rng, framing)
    plan = replace(plan, people=_people(rng, framing))
    if not name:
        return plan
    # A bin changes one property; the others stay as drawn, but without company and silhouettes.
    plan = replace(plan, people=1, light="side" if plan.light == "backlit" else plan.light)
    return _bin(rng, name, plan)


def _framing(rng: np.random.Generator) -> Framing:
    kinds: tuple[Framing, ...] = ("selfie", "portrait", "half", "full")
    return kinds[int(rng.choice(4, p=[0.42, 0.28, 0.17, 0.13]))]


def _people(rng: np.random.Generator, framing: Framing) -> int:
    return int(rng.choice([1, 2, 3], p=[0.86, 0.1, 0.04] if framing == "selfie" else [0.78, 0.14, 0.08]))


def _bin(rng: np.random.Generator, name: str, plan: Plan) -> Plan:
    sign = float(rng.choice([-1, 1]))
    if name == "pitch-back":
        low = replace(plan, elevation=float(rng.uniform(-28, 6)), lean=float(rng.uniform(-24, 4)))
        return replace(low, pitch=float(rng.uniform(-45, -20)), yaw=float(np.clip(rng.normal(0, 10), -25, 25)))
    if name == "pitch-down":
        return replace(plan, pitch=float(rng.uniform(20, 45)), elevation=float(rng.uniform(-5, 30)))
    turns = {"yaw": replace(plan, yaw=sign * float(rng.uniform(25, 45)))}
    turns["roll"] = replace(plan, roll=sign * float(rng.uniform(20, 45)))
    turns["backlit"] = replace(plan, light="backlit")
    turns["two"], turns["three"] = replace(plan, people=2), replace(plan, people=3)
    turns["beside"] = replace(plan, clutter=1.0, setting="room")
    turns["near"] = replace(plan, distance=float(rng.uniform(2.8, 3.8)))
    turns["full"] = plan
    turns["dark-skin"], turns["light-skin"] = replace(plan, skin=(0.0, 0.3)), replace(plan, skin=(0.75, 1.0))
    if name == "standing":
        # The camera is anywhere from the eyes' height down to a kneeling photographer's: the net must see which end of
        # the body is nearer, not assume it. The elevation follows from the distance.
        under = float(rng.uniform(0, 13))
        level = -float(np.rad2deg(np.arcsin(np.clip(under / plan.distance, -0.7, 0.7))))
        turned = level * float(rng.uniform(0, 0.8)) + float(rng.normal(0, 8))
        turns[name] = replace(plan, elevation=level, pitch=turned, lean=float(rng.normal(-1, 4)), hand="down")
    if name in ("seated", "arms"):
        # From the front and from the sides, at the height of the eyes as often as from below or above.
        front = replace(plan, elevation=float(rng.uniform(-14, 22)), azimuth=float(rng.uniform(-45, 45)), hand="down")
        if name == "arms":
            return replace(front, arms=ARMS[int(rng.integers(len(ARMS)))])
        place: Setting = "room" if plan.setting == "backdrop" else plan.setting
        arms = SEATED_ARMS[int(rng.integers(len(SEATED_ARMS)))]
        return replace(front, seated=True, setting=place, lean=float(rng.normal(2, 8)), arms=arms)
    solid: Setting = "room" if plan.setting == "backdrop" else plan.setting
    turns["scene"] = replace(plan, setting=solid)
    return turns[name]


def _portrait(rng: np.random.Generator, framing: Framing) -> Plan:
    selfie = framing == "selfie"
    if selfie:
        elevation = float(rng.choice([rng.normal(-16, 8), rng.normal(-2, 5), rng.uniform(8, 38)], p=[0.6, 0.27, 0.13]))
    else:
        # The camera is held before the chest: seen from the head it is lower, the more of the body is shown.
        low = {"portrait": -12.0, "half": -15.0, "full": -26.0}[framing]
        elevation = float(rng.choice([rng.normal(low, 6), rng.uniform(-25, 30)], p=[0.85, 0.15]))
    # The head follows the camera in part; a fifth of the heads has a pitch of its own.
    pitch = elevation * (1 - float(rng.uniform(0.2, 1.0))) + float(rng.normal(0, 6))
    if rng.random() < 0.2:
        pitch = float(rng.uniform(-45, 40))
    yaw = float(rng.normal(0, 13 if selfie else 20)) if rng.random() < 0.85 else float(rng.uniform(-45, 45))
    roll = float(rng.normal(0, 7)) if rng.random() < 0.9 else float(rng.uniform(-45, 45))
    lean = float(rng.normal(-11 if selfie else -8, 7)) if rng.random() < 0.8 else float(rng.uniform(-28, 22))
    distance, field = _lens(rng, framing)
    side = float(rng.normal(0, 0.13)) if rng.random() < 0.85 else float(rng.uniform(-0.7, 0.7))
    settings: tuple[Setting, ...] = ("room", "garden", "street", "backdrop")
    setting = settings[int(rng.choice(4, p=[0.56, 0.12, 0.12, 0.2]))]
    lights = {"room": [0.34, 0.2, 0.24, 0.02, 0.12, 0.08], "backdrop": [0.3, 0.25, 0.2, 0.1, 0.05, 0.1]}
    odds = lights.get(setting, [0.35, 0.1, 0.0, 0.4, 0.05, 0.1])
    hand: Literal["down", "phone", "face"] = "face" if rng.random() < 0.09 else "down"
    if selfie and rng.random() < 0.7:
        hand = "phone"
    return Plan(
        framing=framing,
        distance=distance,
        field=field,
        elevation=elevation,
        azimuth=float(np.clip(rng.normal(0, 13 if selfie else 20), -55, 55)),
        yaw=float(np.clip(yaw, -45, 45)),
        pitch=float(np.clip(pitch, -45, 45)),
        roll=float(np.clip(roll, -45, 45)),
        lean=lean,
        place=(side, _height(rng, framing)),
        tilt=float(np.clip(rng.normal(0, 4), -14, 14)),
        people=1,
        setting=setting,
        light=str(rng.choice(LIGHTS, p=odds)),
        hand=hand,
        clutter=float(rng.uniform(0, 1)),
    )


def _lens(rng: np.random.Generator, framing: Framing) -> tuple[float, float]:
    """Draw distance and vertical field of view of a phone's front camera, its main camera or its longer one."""
    wide, main, long = float(rng.normal(73, 3)), float(rng.normal(67, 2)), float(rng.uniform(32, 50))
    if framing == "selfie":
        return float(rng.uniform(2.9, 6.6)), wide if rng.random() < 0.75 else float(rng.uniform(50, 66))
    field = float(rng.choice([main, long, rng.uniform(45, 60)], p=[0.4, 0.35, 0.25]))
    if framing == "portrait":
        # Head and shoulders: the picture is 4.5 to 9 dm high at the head.
        return max(float(rng.uniform(4.5, 9)) / (2 * np.tan(np.deg2rad(field / 2))), 3.6), field
    if framing == "half":
        return float(rng.uniform(9, 15)) / (2 * np.tan(np.deg2rad(field / 2))), field
    return float(rng.uniform(17, 28)) / (2 * np.tan(np.deg2rad(field / 2))), field


def _height(rng: np.random.Generator, framing: Framing) -> float:
    if framing == "selfie":
        return float(np.clip(rng.normal(0.08, 0.17), -0.4, 0.6))
    if framing == "portrait":
        return float(np.clip(rng.normal(0.2, 0.16), -0.3, 0.6))
    return float(rng.uniform(0.3, 0.72))
