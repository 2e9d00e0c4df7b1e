"""Right cells and nearest features against plain loops over cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from loftr_nb.datasets import collate, motorcycle
from loftr_nb.evaluation import nearest_errors, right_cells
from loftr_nb.model import LoFTR, LoFTRConfig
from loftr_nb.supervision import supervise

SMALL = LoFTRConfig(
    initial_dim=16, block_dims=(16, 16, 16), coarse_layers=1, coarse_heads=2,
    fine_heads=2, border=0, threshold=0.0,
)  # fmt: skip


def pair():
    return collate([motorcycle(size=(96, 64))])


def test_right_cells_equal_a_loop_over_true_matches():
    torch.manual_seed(0)
    model, batch = LoFTR(SMALL).train(), pair()
    score = right_cells(model, [batch, batch])
    assert model.training  # left as it was
    model.eval()
    with torch.no_grad():
        f = model.features(batch.image0, batch.image1)
        P = model.coarse_matching.log_confidence(f.coarse0, f.coarse1).cells[0].exp()
        found = model(batch.image0, batch.image1)
    truth = supervise(batch)
    right = 0
    for i, j in zip(truth.i.tolist(), truth.j.tolist(), strict=True):
        right += P[i].tolist().index(max(P[i].tolist())) == j
    assert 0 < right < len(truth)
    assert score.right == right / len(truth)
    assert score.truths == 2 * len(truth)
    assert score.matches == len(found.i)


def test_no_pairs_give_zeros():
    assert right_cells(LoFTR(SMALL), []) == (0.0, 0.0, 0)


def test_nearest_features_equal_a_loop():
    torch.manual_seed(1)
    batch = pair()
    truth = supervise(batch)
    maps = tuple(torch.randn(1, 5, 32, 48) for _ in range(2))  # stride 2
    for near in (None, 5.0):
        got = nearest_errors(maps, batch, truth, near)
        for m in range(0, len(truth), 7):
            i = truth.i[m].item()
            x, y = 8 * (i % 12), 8 * (i // 12)
            feature = maps[0][0, :, y // 2, x // 2]
            true = truth.warped0[0, i] / batch.scale1[0]
            scored = []
            for v in range(32):
                for u in range(48):
                    off = torch.tensor([2.0 * u, 2.0 * v]) - true
                    if near and off.abs().max() > near:
                        continue
                    other = maps[1][0, :, v, u]
                    scored.append((F.cosine_similarity(feature, other, 0), off.norm()))
            assert torch.isclose(got[m], max(scored, key=lambda s: s[0])[1], atol=1e-4)


def test_the_true_feature_has_no_error_beyond_its_grid():
    batch = pair()
    truth = supervise(batch)
    cells0, cells1 = (torch.zeros(1, 96, 8, 12) for _ in range(2))
    for n, (i, j) in enumerate(zip(truth.i, truth.j, strict=True)):
        cells0.flatten(2)[0, n % 96, i] = cells1.flatten(2)[0, n % 96, j] = 1.0
    # Half a cell in each direction is what rounding to cells leaves.
    assert nearest_errors((cells0, cells1), batch, truth).max() <= 4 * 2**0.5 + 1e-4
