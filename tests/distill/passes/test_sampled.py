"""Losses over sampled candidates: against the dense matrix of scores, against each other, and as an estimate."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from harness.distill.passes import sampled
from harness.distill.passes.sampled import Candidates, Weighted, sampled_losses, shared_candidates, threads_for_the_pass
from harness.distill.passes.terms import huber_alignment
from harness.distill.targets import ScoreTargets, SoftTargets, TeacherVectors
from harness.models.base import gathered_scores, scores

pytestmark = pytest.mark.compiles

KERNELS = ["dot", "l2", "l1"]
# more dimensions than the compiled loops take at once, and some left over
E, B, Q, D = 60, 9, 20, 11


def targets(*, everything: bool = False, taught: bool = False) -> Weighted:
    """Lists of eight entities (or of all), of which some hold the answer and some do not; ``taught``: the teacher tells
    of the others, too."""
    torch.manual_seed(1)
    logits = (3 * torch.randn(Q, E)).half().double()  # teachers' vectors are kept in half precision
    log_p = torch.log_softmax(logits / 2, 1)
    listed = torch.stack([torch.randperm(E)[: E if everything else 8] for _ in range(Q)])
    remaining = log_p.scatter(1, listed, -torch.inf).logsumexp(1)
    # scores of the true answers are put there by ``batch``, which draws these
    vectors = logits, torch.eye(E, dtype=torch.double), torch.ones(()), "dot", torch.zeros(Q, dtype=torch.double)
    soft = SoftTargets(
        listed.int(), log_p.gather(1, listed), remaining, 2.0, TeacherVectors(*vectors) if taught else None
    )
    chosen = torch.randint(E, (Q, 7))
    aligned = ScoreTargets(chosen.int(), logits.gather(1, chosen))
    return Weighted(0.7, soft, 1.3, aligned, 0.9, 0.6)


def batch(weighted: Weighted, dtype: torch.dtype = torch.double) -> tuple[list[Tensor], Tensor, Tensor]:
    """[query, table, scale], answers of which every other lies in its query's list, and positions."""
    torch.manual_seed(2)
    index = torch.randperm(Q)[:B]
    answer = torch.randint(E, (B,))
    assert weighted.soft is not None
    answer[::2] = weighted.soft.ids[index][::2, 3].long()
    if (teacher := weighted.soft.teacher) is not None:
        vectors = teacher.table[answer][:, None]
        computed = gathered_scores(teacher.query[index].double(), vectors, teacher.kernel, teacher.scale)
        teacher.gold[index] = computed[:, 0]
    parts = [torch.randn(B, D, dtype=dtype), torch.randn(E, D, dtype=dtype), torch.tensor(1.7, dtype=dtype)]
    return [part.requires_grad_() for part in parts], answer, index


def dense_terms(parts: list[Tensor], kernel: Any, answer: Tensor, index: Tensor, weighted: Weighted) -> list[Tensor]:
    """The textbook, over all entities: what is not in a teacher's list is one outcome, unless it tells of that, too."""
    soft, aligned = weighted.soft, weighted.aligned
    assert soft is not None
    assert aligned is not None
    z = scores(parts[0], parts[1], kernel, parts[2])
    q, listed = torch.softmax(z / soft.temperature, 1), soft.ids[index].long()
    p, remaining = soft.log_p[index].exp(), soft.log_rest[index].exp()
    kl = (p * (p.log() - q.gather(1, listed).log())).sum(1)
    others = q.scatter(1, listed, 0.0).sum(1)
    kl = kl + torch.where(remaining > 0, remaining * (remaining.log() - others.clamp(min=1e-30).log()), 0.0)
    if soft.teacher is not None:
        kl = kl_div(q.log(), torch.softmax(soft.teacher.query[index] / soft.temperature, 1), reduction="none").sum(1)
    huber = huber_alignment(z.gather(1, aligned.ids[index].long()), aligned.scores[index], weighted.delta)
    return [
        weighted.hard_weight * cross_entropy(z, answer),
        weighted.soft_weight * soft.temperature**2 * kl.mean(),
        weighted.alpha * huber,
    ]


def assert_equal(
    terms: list[Tensor],
    expected: list[Tensor],
    parts: list[Tensor],
    other: list[Tensor],
    where: str = "",
    **near: float,
) -> None:
    """Terms, and the gradients of their sums; ``where`` is for messages."""
    gradients = torch.autograd.grad(torch.stack(terms).sum(), parts)
    references = torch.autograd.grad(torch.stack(expected).sum(), other)
    for ours, reference in zip([*terms, *gradients], [*expected, *references], strict=True):
        torch.testing.assert_close(
            ours.double(), reference.double(), **near, msg=lambda text: f"{where}: {text}" if where else text
        )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems of every size take the compiled way."""
    monkeypatch.setattr(sampled, "COMPILED_FROM", 0)


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_with_all_entities_shared_everything_is_exact(kernel: Any, everything: bool, taught: bool) -> None:
    weighted = targets(everything=everything, taught=taught)
    parts, answer, index = batch(weighted)
    computed = sampled_losses(*parts, kernel, answer, index, Candidates(torch.randperm(E)), weighted)
    assert_equal(computed, dense_terms(parts, kernel, answer, index, weighted), parts, parts)


PARTS: dict[str, dict[str, Any]] = {
    "all": {},
    "soft": {"aligned": None},
    "aligned": {"soft": None},
    "none": {"soft": None, "aligned": None},
}


# all in one test a kernel: a process compiles the pass once a kernel, which takes nearly all of the time
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.usefixtures("compiled")
def test_compiled_pass_equals_tensor_operations(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Candidates(torch.randperm(E, generator=torch.Generator().manual_seed(3))[:11])
    for everything, taught, parts_kept, threads in itertools.product((False, True), (False, True), PARTS, (1, 3)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        double = targets(everything=everything, taught=taught)
        parts, answer, index = batch(double)
        double = replace(double, **PARTS[parts_kept])
        single = [part.detach().float().requires_grad_() for part in parts]
        terms = sampled_losses(*single, kernel, answer, index, shared, narrow(double))
        expected = sampled_losses(*parts, kernel, answer, index, shared, double)
        where = f"everything {everything}, taught {taught}, parts {parts_kept}, {threads} threads"
        assert_equal(terms, expected, single, parts, where, rtol=2e-4, atol=2e-5)
        # other vectors of some of the queries, in the same pass
        also = torch.randn(4, D, dtype=torch.double, requires_grad=True)
        also_single = also.detach().float().requires_grad_()
        terms = sampled_losses(*single, kernel, answer, index, shared, narrow(double), also_single, 0.3)
        expected = sampled_losses(*parts, kernel, answer, index, shared, double, also, 0.3)
        assert len(terms) == len(expected)
        given = [*single, also_single], [*parts, also]
        assert_equal(terms, expected, *given, f"also, {where}", rtol=2e-4, atol=2e-5)


def test_other_vectors_have_a_cross_entropy_of_their_own() -> None:
    weighted = targets()
    parts, answer, index = batch(weighted)
    also, shared = torch.randn(4, D, dtype=torch.double), Candidates(torch.randperm(E)[:11])
    *before, own = sampled_losses(*parts, "l2", answer, index, shared, weighted, also, 0.3)
    torch.testing.assert_close(before, sampled_losses(*parts, "l2", answer, index, shared, weighted))
    plain = replace(weighted, hard_weight=0.3, soft_weight=0.0, aligned=None)
    alone = sampled_losses(also, *parts[1:], "l2", answer[:4], index[:4], shared, plain)
    torch.testing.assert_close(own, alone[0])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.usefixtures("compiled")
def test_compiled_pass_reads_teachers_of_every_kind(kernel: Any) -> None:
    double = targets(taught=True)
    assert double.soft is not None
    size = 16
    vectors = torch.randn(Q, size).half().double(), torch.randn(E, size, dtype=torch.double), torch.tensor(1.9).double()
    teacher = TeacherVectors(*vectors, kernel, torch.zeros(Q, dtype=torch.double))
    double = replace(double, soft=replace(double.soft, teacher=teacher))
    parts, answer, index = batch(double)
    single = [part.detach().float().requires_grad_() for part in parts]
    shared = Candidates(torch.randperm(E)[:11])
    computed = sampled_losses(*single, "l2", answer, index, shared, narrow(double))
    assert_equal(
        computed, sampled_losses(*parts, "l2", answer, index, shared, double), single, parts, rtol=2e-4, atol=2e-5
    )


def narrow(weighted: Weighted) -> Weighted:
    """The same in single precision."""
    soft, aligned = weighted.soft, weighted.aligned
    if soft is not None:
        teacher = soft.teacher
        if teacher is not None:
            table, gold = teacher.table.float(), teacher.gold.float()
            teacher = replace(teacher, query=teacher.query.half(), table=table, gold=gold)
        soft = replace(soft, log_p=soft.log_p.float(), log_rest=soft.log_rest.float(), teacher=teacher)
    return replace(
        weighted,
        soft=soft,
        aligned=None if aligned is None else replace(aligned, scores=aligned.scores.float()),
    )


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_equals_finite_differences(kernel: Any, taught: bool) -> None:
    weighted = targets(taught=taught)
    parts, answer, index = batch(weighted)
    shared = Candidates(torch.randperm(E)[:11])

    def total(*parts: Tensor) -> Tensor:
        return torch.stack(sampled_losses(*parts, kernel, answer, index, shared, weighted)).sum()

    assert torch.autograd.gradcheck(total, parts, fast_mode=True)


def partitions(kernel: Any, size: int, draws: int) -> tuple[Tensor, Tensor]:
    """log Σ exp(z) of each query as estimated in each draw [draws, B], read off the cross-entropy, and exact [B]."""
    weighted = targets()
    parts, answer, index = batch(weighted)
    query, table, scale = (part.detach() for part in parts)
    z = scores(query, table, kernel, scale)
    plain = replace(weighted, hard_weight=1.0, soft_weight=0.0, aligned=None)
    drawn = shared_candidates(E, size, 0)
    rows = [
        torch.stack(
            [
                sampled_losses(
                    query[b, None], table, scale, kernel, answer[b, None], index[b, None], Candidates(shared), plain
                )[0]
                + z[b, answer[b]]
                for b in range(B)
            ]
        )
        for shared in itertools.islice(drawn, draws)
    ]
    return torch.stack(rows), z.logsumexp(1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_partition_is_unbiased_and_its_logarithm_is_low_by_half_the_variance(kernel: Any) -> None:
    computed, exact = partitions(kernel, 12, 300)
    ratio = (computed - exact).exp()
    error = ratio.std(0) / len(ratio) ** 0.5
    assert ((ratio.mean(0) - 1).abs() < 4 * error + 1e-9).all()
    bias, half = (computed - exact).mean(), ratio.var(0).mean() / 2
    assert bias < 0
    assert -bias.item() == pytest.approx(half.item(), rel=0.5)


def test_more_candidates_err_less() -> None:
    errors = []
    for size in (6, 12, 30):
        computed, exact = partitions("l2", size, 60)
        errors.append((computed - exact).square().mean().item())
    assert errors[0] > errors[1] > errors[2] > 0


def test_divergence_with_a_teacher_that_tells_of_all_tends_to_the_textbooks() -> None:
    """Value and gradient, as means over draws: both errors fall with the size of a draw."""
    weighted = targets(taught=True)
    parts, answer, index = batch(weighted)
    exact = dense_terms(parts, "l2", answer, index, weighted)[1]
    (wanted,) = torch.autograd.grad(exact, parts[0])
    errors = []
    for size in (10, 20, 40):
        terms = [
            sampled_losses(*parts, "l2", answer, index, Candidates(shared), weighted)[1]
            for shared in itertools.islice(shared_candidates(E, size, 0), 150)
        ]
        mean = torch.stack(terms).mean()
        (gradient,) = torch.autograd.grad(mean, parts[0])
        errors.append([((mean - exact) / exact).abs().item(), ((gradient - wanted).norm() / wanted.norm()).item()])
    for few, more, most in zip(*errors, strict=True):
        assert few > more > most
        assert most < 0.08


def test_the_pass_gets_the_threads_of_tensor_operations() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with threads_for_the_pass():
            assert (torch.get_num_threads(), sampled._pass_threads.get()) == (1, 3)
        with threads_for_the_pass(False):
            assert (torch.get_num_threads(), sampled._pass_threads.get()) == (3, None)
        with pytest.raises(KeyError), threads_for_the_pass():
            raise KeyError
        assert (torch.get_num_threads(), sampled._pass_threads.get()) == (3, None)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.usefixtures("compiled")
def test_nan_goes_in_and_comes_out(kernel: Any) -> None:
    weighted = narrow(targets())
    shared = Candidates(torch.arange(E - 11, E))
    for position in range(3):  # of query, table, scale
        parts, answer, index = batch(weighted, torch.float)
        with torch.no_grad():
            parts[position].view(-1)[-1 if position == 1 else 0] = torch.nan
        assert torch.stack(sampled_losses(*parts, kernel, answer, index, shared, weighted)).sum().isnan(), position


@pytest.mark.parametrize("what", ["answer", "list", "aligned"])
@pytest.mark.parametrize("entity", [-1, E])
@pytest.mark.usefixtures("compiled")
def test_what_is_no_entity_is_refused(what: str, entity: int) -> None:
    """Compiled code would read, and write, whatever lies there."""
    weighted = narrow(targets())
    parts, answer, index = batch(weighted, torch.float)
    assert weighted.soft is not None
    assert weighted.aligned is not None
    wrong = {"answer": answer, "list": weighted.soft.ids[index], "aligned": weighted.aligned.ids[index]}[what]
    wrong[-1, ...] = entity
    if what == "list":
        weighted.soft.ids[index] = wrong
    elif what == "aligned":
        weighted.aligned.ids[index] = wrong
    with pytest.raises(IndexError, match="is not an entity"):
        sampled_losses(*parts, "l2", answer, index, Candidates(torch.arange(11)), weighted)


@pytest.mark.usefixtures("compiled")
def test_terms_of_one_pass_have_one_factor() -> None:
    weighted = narrow(targets())
    parts, answer, index = batch(weighted, torch.float)
    terms = sampled_losses(*parts, "dot", answer, index, Candidates(torch.arange(11)), weighted)
    with pytest.raises(ValueError, match="same factor"):
        terms[0].backward()


@pytest.mark.parametrize("size", [1, 7, 20, 60, 99])
def test_shared_candidates_are_distinct_and_come_equally_often(size: int) -> None:
    n = 20
    rounds = max(n // size, 1)
    drawn = list(itertools.islice(shared_candidates(n, size, 5), 3 * rounds))
    assert all(len(d) == len(d.unique()) == min(size, n) and d.min() >= 0 and d.max() < n for d in drawn)
    counts = torch.cat(drawn[:rounds]).bincount(minlength=n)
    assert counts.max() == 1  # a window of one permutation after another
    again = list(itertools.islice(shared_candidates(n, size, 5), 3))
    assert all(torch.equal(a, b) for a, b in zip(again, drawn, strict=False))
    other = next(shared_candidates(n, size, 6))
    assert size == 1 or not torch.equal(other, drawn[0])


@pytest.mark.usefixtures("compiled")
def test_objective_over_all_entities_as_candidates_is_the_exact_one(build_problem: Callable[..., Any]) -> None:
    """Through every backbone's encoder and L3, in single precision as in training."""
    for name in ("ttranse", "ttranse-l1", "ta-distmult"):
        problem = build_problem(name, torch.float)
        everyone = Candidates(torch.arange(len(problem.student.entity_table())))
        computed, expected = (
            problem.loss()(problem.student, problem.batch, problem.index, s) for s in (everyone, None)
        )
        assert list(computed) == list(expected)
        for term in computed:
            torch.testing.assert_close(computed[term], expected[term], rtol=1e-4, atol=1e-5)
        ours, reference = (problem.gradients(torch.stack(list(t.values())).sum()) for t in (computed, expected))
        for parameter in ours:
            torch.testing.assert_close(ours[parameter], reference[parameter], rtol=1e-3, atol=1e-5)
