"""Features of gaps in NumPy are those of the compiled loops, and facts come out of few bytes as they went in."""

from __future__ import annotations

import lzma

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import UNKNOWN
from harness.data.graph import Facts
from harness.distill.gaps import Lookup, weights_shape
from harness.distill.packing import pack, unpack
from harness.teachers.gaps import Gaps

ENTITIES, RELATIONS = 6, 2


@st.composite
def facts(draw: st.DrawFn, most: int = 200) -> Facts:
    """Some facts: a few twice, some without one or both ends, and far from each other or near."""
    rows = st.tuples(
        st.integers(0, ENTITIES - 1),
        st.integers(0, RELATIONS - 1),
        st.integers(0, ENTITIES - 1),
        st.integers(-most, most),
        st.integers(0, most),
        st.sampled_from(["both", "both", "start", "end", "none"]),
    )
    drawn = draw(st.lists(rows, max_size=25))
    ends = [
        (s if k in ("both", "start") else UNKNOWN, s + n if k in ("both", "end") else UNKNOWN) for *_, s, n, k in drawn
    ]
    columns = np.array([(h, r, t, *both) for (h, r, t, *_), both in zip(drawn, ends, strict=True)], np.int64)
    return Facts(*columns.reshape(-1, 5).T)


@settings(max_examples=60, deadline=None)
@given(facts=facts(), seed=st.integers(0, 9), start=st.one_of(st.integers(-300, 300), st.just(UNKNOWN)))
def test_numpy_scores_as_the_compiled_loops(facts: Facts, seed: int, start: int) -> None:
    model = Gaps(facts, ENTITIES, RELATIONS)
    weights = np.random.default_rng(seed).normal(size=weights_shape(2 * RELATIONS)).astype(np.float32)
    model.weights.data.copy_(torch.from_numpy(weights))
    subject, relation = (part.ravel() for part in np.divmod(np.arange(ENTITIES * 2 * RELATIONS), 2 * RELATIONS))
    starts = np.full(len(subject), start)
    time = torch.from_numpy(np.stack([starts, starts], 1))
    theirs = model.direct_scores(torch.from_numpy(subject), torch.from_numpy(relation), time).numpy()
    ours = Lookup(facts, ENTITIES, RELATIONS).scores(weights, subject, relation, starts)
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(facts=facts(most=2**40))
def test_facts_come_out_as_they_went_in(facts: Facts) -> None:
    def rows(some: Facts) -> list[tuple[int, ...]]:
        return sorted(zip(*(column.tolist() for column in some.columns.values()), strict=True))

    assert rows(unpack(pack(facts), len(facts))) == rows(facts)


def test_what_packs_no_facts_is_refused() -> None:
    one = np.arange(50)
    packed = pack(Facts(one, one, one, one, one))
    bomb = np.frombuffer(lzma.compress(bytes(8 + 48 * 10**6)), np.uint8)
    greedy = np.frombuffer(lzma.compress(bytes(8 + 48 * 50), preset=9), np.uint8)  # asks for 64 MiB to unpack
    for content, n in ((packed, 49), (packed, 51), (packed[:-5], 50), (packed[3:], 50), (packed, 10**18)):
        with pytest.raises(ValueError, match="are not"):
            unpack(content, n)
    for content, n in ((bomb, 10**6), (greedy, 50)):
        with pytest.raises(ValueError, match="are not"):
            unpack(content, n)
