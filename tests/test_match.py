"""``LoFTR.match``: images as people have them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as pictures
from torch import nn

from loftr_nb.errors import ConfigError, DataError
from loftr_nb.model import LoFTR, LoFTRConfig, images

SMALL = LoFTRConfig(
    initial_dim=16,
    block_dims=(16, 24, 32),
    coarse_layers=1,
    coarse_heads=4,
    fine_heads=2,
    threshold=0.2,
    border=1,
)


@pytest.fixture(scope="module")
def colour() -> np.ndarray:
    """(72, 104, 3) uint8 RGB; 8 divides both sides."""
    return cv2.resize(pictures.astronaut(), (104, 72), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def grey(colour) -> np.ndarray:
    return cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def model(grey) -> LoFTR:
    """Random weights that match an image with itself."""
    torch.manual_seed(0)
    model = LoFTR(SMALL)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().backbone(torch.from_numpy(grey).float()[None, None] / 255)
    return model.eval()


def test_every_form_of_a_picture_is_the_same_picture(colour, grey, tmp_path):
    cv2.imwrite(str(tmp_path / "a b é.png"), colour[..., ::-1])
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    alpha = np.full(grey.shape, 255, np.uint8)
    forms = {
        "path": tmp_path / "a b é.png",
        "text": str(tmp_path / "grey.png"),
        "uint8": grey,
        "uint8 with a channel": grey[..., None],
        "RGB": colour,
        "RGBA": np.dstack([colour, alpha]),
        "channels first": np.ascontiguousarray(colour.transpose(2, 0, 1)),
        "float": grey.astype(np.float64) / 255,
        "float RGB": colour / 255.0,
        "float to 255": grey.astype(np.float32),
        "uint16": grey.astype(np.uint16) * 257,
        "int64": colour.astype(np.int64),
        "PIL": Image.fromarray(colour),
        "PIL 16 bit": Image.fromarray(grey.astype(np.uint16) * 257),
        "tensor": torch.from_numpy(colour).permute(2, 0, 1),
        "batch of one": torch.from_numpy(grey)[None, None].float() / 255,
    }
    want = grey.astype(np.float32) / 255
    for name, form in forms.items():
        got = images.read_image(form)
        assert got.dtype == np.float32 and got.shape == grey.shape, name
        # Libraries round the grey of a colour differently, by one level of 255.
        np.testing.assert_allclose(got, want, atol=1.01 / 255, err_msg=name)


def test_matching_takes_paths_arrays_and_tensors(model, grey, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    want = model.match(grey, grey)
    assert len(want) >= 10
    for form in (tmp_path / "grey.png", torch.from_numpy(grey), grey / 255.0):
        got = model.match(form, grey)
        np.testing.assert_array_equal(got.keypoints0, want.keypoints0)
        np.testing.assert_allclose(got.keypoints1, want.keypoints1, atol=1e-2)


def test_results_are_float32_arrays_in_the_given_pixels(model, grey):
    found = model.match(grey, grey)
    for points in (found.keypoints0, found.keypoints1):
        assert points.dtype == np.float32 and points.shape == (len(found), 2)
    assert found.confidence.dtype == np.float32
    assert (found.confidence > 0.2).all() and (found.confidence <= 1).all()
    # An image against itself: within a fine window's radius of the same place.
    assert np.abs(found.keypoints0 - found.keypoints1).max() < 4.01
    assert found.keypoints0[:, 0].max() > grey.shape[0] - 16  # x is the longer axis


@pytest.mark.parametrize("cut", [1, 7])
def test_sides_that_8_does_not_divide_keep_their_pixels(model, grey, cut):
    odd = grey[: 72 - cut, : 104 - cut]
    found = model.match(odd, odd)
    assert len(found) >= 5
    assert (found.keypoints0 % 8 == 0).all()
    assert (found.keypoints0 < (104 - cut, 72 - cut)).all()


def test_max_size_shrinks_and_gives_the_given_pixels_back(model, grey):
    large = cv2.resize(grey, (416, 291), interpolation=cv2.INTER_CUBIC)
    values, scale = images.to_input(images.read_image(large), 104)
    assert values.shape == (1, 1, 72, 104)
    np.testing.assert_allclose(scale.numpy(), [[416 / 104, 291 / 72]])
    found = model.match(large, grey, max_size=104)
    assert len(found) >= 5
    shrunk = found.keypoints0 / (4, 291 / 72)
    np.testing.assert_allclose(shrunk, 8 * np.rint(shrunk / 8), atol=1e-4)
    drift = np.abs(shrunk - found.keypoints1)
    assert np.median(drift) < 4


def test_nothing_matched_is_empty_arrays(grey, model):
    flat = np.full((64, 48), 128, np.uint8)
    unsure = LoFTR(dataclasses.replace(SMALL, threshold=0.999))
    found = unsure.match(flat, grey)
    assert len(found) == 0
    assert found.keypoints0.shape == found.keypoints1.shape == (0, 2)
    assert found.keypoints0.dtype == found.confidence.dtype == np.float32
    assert len(model.match(grey[:8, :8], grey[:16, :40])) == 0  # all border


def test_modes_come_back_and_no_statistic_moves(model, grey):
    model.train()
    model.backbone.bn1.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trained = model.match(grey, grey)
    assert model.training and not model.backbone.bn1.training
    assert model.loftr_coarse.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(DataError):
        model.match(grey, grey[:3])
    assert model.training
    again = model.eval().match(grey, grey)
    np.testing.assert_array_equal(trained.keypoints1, again.keypoints1)


@pytest.mark.parametrize(("w", "h"), [(1, 1), (5, 3), (200, 7)])
def test_images_below_one_cell_are_named_with_their_size(model, grey, tmp_path, w, h):
    tiny = np.zeros((h, w), np.uint8)
    with pytest.raises(DataError, match=f"image1 is {w}x{h} px.*8x8 px"):
        model.match(grey, tiny)
    cv2.imwrite(str(tmp_path / "tiny.png"), tiny)
    with pytest.raises(DataError, match=f"tiny.png is {w}x{h} px"):
        model.match(tmp_path / "tiny.png", grey)


def test_a_wide_image_fits_with_max_size_or_says_so(model, grey, monkeypatch):
    wide = np.tile(grey, (8, 40))[:512, :4096]
    monkeypatch.setattr(images, "free_bytes", lambda device: 2**29)
    with pytest.raises(ConfigError, match=r"4096x512 px .* GiB .*max_size=\d+") as e:
        model.match(wide, wide)
    size = int(str(e.value).split("max_size=")[1].split()[0])
    input0, _ = images.to_input(images.read_image(wide), size)
    size = tuple(input0.shape[-2:])
    images.check_memory(size, size, SMALL.fine_dim, torch.device("cpu"))
    found = model.match(wide, grey, max_size=256)
    assert found.keypoints0.shape[1] == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: g[..., None].repeat(2, 2), r"shape \(72, 104, 2\)"),
        (lambda g: g[None, None, None], "one image is needed"),
        (lambda g: g.astype(np.float32) / 128 - 1, "from -1 to"),
        (lambda g: g.astype(np.float32) * 9, r"bring it to \[0, 1\]"),
        (lambda g: np.where(g > 200, np.nan, 0.5), "not finite"),
        (lambda g: g.astype(complex), "dtype complex128"),
        (lambda g: [1, 2], "image0 is a list"),
    ],
)
def test_what_is_no_image_is_refused(model, grey, make, message):
    with pytest.raises(DataError, match=message):
        model.match(make(grey), grey)


def test_files_that_are_no_images_are_named(model, grey, tmp_path):
    with pytest.raises(DataError, match="none.png does not exist"):
        model.match(tmp_path / "none.png", grey)
    for content in (b"", b"no picture"):
        (tmp_path / "text.png").write_bytes(content)
        with pytest.raises(DataError, match=r"text.png \(\d+ bytes\) is not an image"):
            model.match(tmp_path / "text.png", grey)
    with pytest.raises(ConfigError, match="max_size=4 px must be at least 8"):
        model.match(grey, grey, max_size=4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_match_runs_on_the_models_device(model, grey):
    found = model.to("cuda").match(grey, grey)
    model.to("cpu")
    assert len(found) == len(model.match(grey, grey))
