"""Poses of head, back and arms in front of a camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference.render.assets import Floats, Skeleton, rotation
from reference.synthesize.rig import Turns

Vector = NDArray[np.float64]
_SIDES = (("L", 1.0), ("R", -1.0))


@dataclass(frozen=True, slots=True)
class Stance:
    """A pose of head and back, in degrees.

    The head's rotation against the world (person looking along z): `yaw` to the person's left, `pitch` down, `roll` to
    its right shoulder. The back's `lean` forwards, `side` and `twist`.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    lean: float = 0.0
    side: float = 0.0
    twist: float = 0.0


def turned(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return the rotation that first rolls, then pitches, then yaws."""
    return rotation((0, 1, 0), yaw) @ rotation((1, 0, 0), pitch) @ rotation((0, 0, 1), -roll)


def head_and_back(stance: Stance) -> Turns:
    """Return the bones' rotations: the back bends at two joints, neck and head share the rest of the head's."""
    half = turned(stance.twist / 2, stance.lean / 2, -stance.side / 2)
    yaw, pitch, roll = stance.yaw - stance.twist, stance.pitch - stance.lean, stance.roll - stance.side
    turns = {"spine02": half, "spine01": half}
    for bone, share in (("neck01", 0.2), ("neck02", 0.25), ("head", 0.55)):
        turns[bone] = turned(share * yaw, share * pitch, share * roll)
    return turns


def hanging_arms(rng: np.random.Generator) -> Turns:
    """Draw both arms down, elbows a little bent, sometimes a forearm forward."""
    turns: Turns = {}
    for side, sign in _SIDES:
        forward = float(rng.uniform(-25, 15)) if rng.random() < 0.3 else 0.0
        inward = float(rng.uniform(26, 46))
        turns[f"upperarm01.{side}"] = rotation((1, 0, 0), forward) @ rotation((0, 0, 1), -sign * inward)
        bend = float(rng.uniform(10, 100)) if rng.random() < 0.2 else float(rng.uniform(0, 25))
        turns[f"lowerarm01.{side}"] = rotation((1, 0, 0), -bend)
        turns |= curled_fingers(rng, side)
    return turns


def seated_legs(rng: np.random.Generator) -> Turns:
    """Draw both legs of a person on a seat: thighs ahead, a little apart, shins down or stretched."""
    turns: Turns = {}
    for side, sign in _SIDES:
        thigh, apart = float(rng.uniform(74, 96)), float(rng.uniform(-4, 20))
        shin = thigh - float(rng.uniform(-14, 40))
        turns[f"upperleg01.{side}"] = rotation((0, 1, 0), sign * apart) @ rotation((1, 0, 0), -thigh)
        turns[f"lowerleg01.{side}"] = rotation((1, 0, 0), shin)
    return turns


def wrist_targets(
    rng: np.random.Generator, arms: str, hips: Vector, shoulders: Vector
) -> dict[str, tuple[Vector, Vector]]:
    """Return (wrist, elbow's direction) per side for a pose of the arms, in the rest frame of the body.

    `hips` and `shoulders` [2, 3] are the joints of the left and the right side.
    """
    targets = {}
    for index, (side, sign) in enumerate(_SIDES):
        hip, shoulder = hips[index], shoulders[index]
        middle = np.array([0, shoulder[1], shoulder[2]])
        noise = rng.normal(0, 0.2, 3)
        if arms == "lap":
            wrist, elbow = hip + np.array([-0.3 * sign, 0.9, 2.6]), [sign, -0.4, -0.6]
        elif arms == "table":
            wrist, elbow = middle + np.array([1.5 * sign, -2.6, 4.0]), [sign, -1.0, -0.2]
        elif arms == "crossed":
            wrist, elbow = middle + np.array([-0.9 * sign, -2.0 + 0.25 * sign, 1.9 + 0.25 * sign]), [sign, -1.2, 0.3]
        else:  # hips
            wrist, elbow = hip + np.array([0.75 * sign, 0.9, 0.5]), [sign, 0.1, -0.7]
        targets[side] = (wrist + noise, np.array(elbow, np.float64))
    return targets


def curled_fingers(rng: np.random.Generator, side: str) -> Turns:
    """Draw a relaxed or half closed hand."""
    curl = float(rng.uniform(4, 42))
    sign = 1.0 if side == "L" else -1.0
    axis = (0.75, 0.0, -0.66 * sign)
    return {
        f"finger{finger}-{joint}.{side}": rotation(axis, curl * float(rng.uniform(0.7, 1.2)))
        for finger in (2, 3, 4, 5)
        for joint in (1, 2, 3)
    }


def reach(skeleton: Skeleton, rest: Floats, turns: Turns, side: str, target: Vector, hint: Vector) -> Turns:
    """Return `turns` with one arm rotated so that its wrist is at `target` and its elbow points to `hint`.

    `target` is in the rest frame, that is before the back bends. If it is out of reach, the arm is stretched towards
    it.
    """
    shoulder = skeleton.joint(rest, f"upperarm01.{side}", "head")
    elbow = skeleton.joint(rest, f"lowerarm01.{side}", "head")
    wrist = skeleton.joint(rest, f"wrist.{side}", "head")
    upper, lower = float(np.linalg.norm(elbow - shoulder)), float(np.linalg.norm(wrist - elbow))
    way = target - shoulder
    far = float(np.clip(np.linalg.norm(way), abs(upper - lower) + 0.2, (upper + lower) * 0.995))
    ahead = way / np.linalg.norm(way)
    aside = hint - ahead * float(hint @ ahead)
    aside /= max(float(np.linalg.norm(aside)), 1e-6)
    cosine = np.clip((upper**2 + far**2 - lower**2) / (2 * upper * far), -1, 1)
    joint = shoulder + upper * (cosine * ahead + np.sqrt(1 - cosine**2) * aside)
    first = between(elbow - shoulder, joint - shoulder)
    second = between(wrist - elbow, first.T @ (shoulder + far * ahead - joint))
    return {**turns, f"upperarm01.{side}": first, f"lowerarm01.{side}": second}


def between(start: Vector, end: Vector) -> NDArray[np.float64]:
    """Return the shortest rotation from the direction of `start` to the direction of `end`."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis = np.cross(a, b)
    if np.linalg.norm(axis) < 1e-9:
        return np.eye(3)
    angle = float(np.rad2deg(np.arctan2(np.linalg.norm(axis), float(a @ b))))
    return rotation((float(axis[0]), float(axis[1]), float(axis[2])), angle)
