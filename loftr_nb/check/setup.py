"""Verdicts of the exercises on depth files, poses and data that does not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .verdict import Verdict, judge

Folder = tuple[np.ndarray, np.ndarray, np.ndarray]


def depth_metres(answer: Callable) -> Verdict:
    """Exercise: ``answer(stored)`` reads the numbers of a ScanNet depth PNG.

    stored: (H, W) uint16 array. Returns (H, W) metres, 0 where depth is unknown.
    """
    stored = np.array([[0, 1000, 65535], [2345, 7, 40000]], np.uint16)
    millimetres = torch.tensor([[0.0, 1000, 0], [2345, 7, 40000]])
    right = millimetres / 1000
    saturated = right.clone()
    saturated[0, 2] = 65.535
    mistakes = {
        "the numbers are still millimetres: divide by 1000": millimetres,
        "the numbers are still millimetres, and 65535 is no depth: give 0": millimetres
        + torch.tensor([[0.0, 0, 65535], [0, 0, 0]]),
        "5000 is TUM's factor: ScanNet stores 1000 for a metre": millimetres / 5000,
        "65535 is the largest number a 16-bit file holds, and stands for unknown "
        "depth: give 0": saturated,
        "whole metres: // cuts 2.345 m to 2 m, / does not": right.floor(),
        "unknown depth is 0 here: the warp asks for depth > 0 (NaN would spoil every "
        "mean)": torch.where(right > 0, right, torch.nan),
        "40000 became negative: a 16-bit file is unsigned (uint16, not int16)": right
        - torch.tensor([[0.0, 0, 0], [0, 0, 65.536]]),
    }
    return judge(
        lambda: answer(stored.copy()),
        right,
        mistakes,
        "6 pixels: near, far, unknown and saturated",
    )


def relative_pose(answer: Callable) -> Verdict:
    """Exercise: ``answer(pose0, pose1)`` makes T_0to1 of two ScanNet pose files.

    pose0, pose1: (4, 4) float64, camera to world. Returns (4, 4), camera 0 to
    camera 1.
    """
    pose0 = _pose(0.3, -0.2, (1.0, 2.0, 0.5))
    pose1 = _pose(-0.4, 0.1, (1.5, 1.2, 0.9))

    def tensor(pose: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(pose))

    inv = np.linalg.inv
    mistakes = {
        "it is T_1to0: the way leads from camera 0 to the world, then to camera 1. "
        "The matrix on the right acts first": inv(pose0) @ pose1,
        "the files are read as world to camera; ScanNet's are camera to world": pose1
        @ inv(pose0),
        "the order is turned round: the matrix on the right acts first": pose0
        @ inv(pose1),
        "a pose is not inverted by its transpose: only its rotation is": pose1.T
        @ pose0,
        "no pose is inverted: into camera 1 leads the inverse of its pose": pose1
        @ pose0,
        "the inverse of a pose has the translation -R^T t, not -t": _careless(pose1)
        @ pose0,
        "this is the camera's motion in the world: multiply matrices, do not "
        "subtract them": pose1 - pose0,
    }
    return judge(
        lambda: answer(pose0.copy(), pose1.copy()),
        tensor(inv(pose1) @ pose0),
        {words: tensor(wrong) for words, wrong in mistakes.items()},
        "two cameras that turn and move",
    )


def half_K(answer: Callable) -> Verdict:
    """Exercise: ``answer(folders)`` names the folder whose K is of half the size.

    folders: name to (points, found, landed), (N, 2) pixels each: places in image 0;
    where they are in image 1, found in the images (one in ten is a wrong match);
    where depth, pose and K of the folder put them. One folder is right, one has its
    poses inverted, and one has K of a picture of half the size.
    """
    cases = [_folders(seed) for seed in range(3)]
    right, largest, smallest = [], [], []
    for folders, guilty in cases:
        names = list(folders)
        off = {n: float(np.median(_distance(*f[1:]))) for n, f in folders.items()}
        right.append(names.index(guilty))
        largest.append(names.index(max(off, key=off.get)))
        smallest.append(names.index(min(off, key=off.get)))

    def run() -> torch.Tensor:
        return torch.tensor([_number(answer(dict(f)), f) for f, _ in cases])

    mistakes = {
        "this is the folder with the largest error: an inverted pose. K of half the "
        "size moves points the right way, but not far enough": torch.tensor(largest),
        "this is the folder that is right: its points land where they "
        "are": torch.tensor(smallest),
    }
    verdict = judge(run, torch.tensor(right), mistakes, "3 times the right folder of 3")
    if verdict or "for one case" not in verdict.words:
        return verdict
    return Verdict(
        False,
        "not the same mistake in all 3 cases: one match in ten is wrong, so take the "
        "median of the shares and not their mean, and never go by name or place",
    )


def _number(name: object, folders: dict[str, Folder]) -> int:
    """A folder's place; an answer that is none of their names is said to be so."""
    if name is None:
        raise TypeError("it returns nothing: end it with a return")
    if name not in folders:
        raise ValueError(f"{name!r} is none of the names {', '.join(folders)}")
    return list(folders).index(name)


def _distance(found: np.ndarray, landed: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - landed, axis=1)


def _folders(seed: int) -> tuple[dict[str, Folder], str]:
    """Three folders in a drawn order, and the name of the one with half of K."""
    rng = np.random.default_rng(seed)
    K = np.array([[260.0, 0, 160], [0, 260, 120], [0, 0, 1]])
    # Seen from the side and a little turned: everything moves the same way.
    T = _pose(0.03, 0.01, (0.25 + 0.05 * seed, 0.05, 0.02))
    points = rng.uniform((20, 20), (300, 220), (60, 2))
    depth = rng.uniform(1.5, 4.0, 60)
    found = _warp(points, depth, K, T) + rng.normal(0, 0.4, (60, 2))
    found[::10] = rng.uniform((0, 0), (320, 240), (6, 2))
    landed = {
        "right": _warp(points, depth, K, T),
        "inverted": _warp(points, depth, K, np.linalg.inv(T)),
        "half": _warp(points, depth, np.diag([0.5, 0.5, 1]) @ K, T),
    }
    kinds = [("half", "right", "inverted"), ("right", "inverted", "half"),
             ("inverted", "half", "right")][seed]  # fmt: skip
    folders = {
        name: (points, found, landed[kind])
        for name, kind in zip("abc", kinds, strict=True)
    }
    return folders, "abc"[kinds.index("half")]


def _warp(
    points: np.ndarray, depth: np.ndarray, K: np.ndarray, T: np.ndarray
) -> np.ndarray:
    rays = np.c_[points, np.ones(len(points))] @ np.linalg.inv(K).T
    seen = ((rays * depth[:, None]) @ T[:3, :3].T + T[:3, 3]) @ K.T
    return seen[:, :2] / seen[:, 2:]


def _careless(pose: np.ndarray) -> np.ndarray:
    """The inverse as it is often written by mistake."""
    wrong = np.eye(4)
    wrong[:3, :3], wrong[:3, 3] = pose[:3, :3].T, -pose[:3, 3]
    return wrong


def _pose(yaw: float, pitch: float, centre: tuple[float, float, float]) -> np.ndarray:
    """(4, 4): a turn to the side, then up, and a place."""
    c, s = np.cos(yaw), np.sin(yaw)
    k, z = np.cos(pitch), np.sin(pitch)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array(
        [[1, 0, 0], [0, k, -z], [0, z, k]]
    )
    pose[:3, 3] = centre
    return pose
