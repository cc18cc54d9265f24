import pytest
import torch

from reason_env.agents.engines import SamplingConfig, sampling
from reason_env.agents.engines.sampling import draw, processed_log_probs

VOCAB = 5_000 + 17
SAMPLINGS = [
    SamplingConfig(),
    SamplingConfig(temperature=0.6),
    SamplingConfig(temperature=1.4, top_p=0.93),
    SamplingConfig(top_p=0.9999),
    SamplingConfig(top_k=40),
    SamplingConfig(top_k=300, top_p=0.8),
]


def some_logits(rows, *, scale=3.0):
    generator = torch.Generator().manual_seed(6)
    return scale * torch.randn((rows, VOCAB), generator=generator)


def numbers(rows):
    return torch.rand(rows, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("chosen", SAMPLINGS)
def test_a_large_vocabulary_draws_what_the_whole_cumulative_sum_would(chosen, monkeypatch):
    logits, uniforms = some_logits(300), numbers(300)
    tokens, log_probs = draw(logits, uniforms, chosen)
    # In float64, by the definition: the first token whose cumulative probability exceeds u.
    probs = processed_log_probs(logits, chosen).double().exp()
    cumulative = probs.cumsum(-1) / probs.sum(-1, keepdim=True)
    position = torch.searchsorted(cumulative, uniforms.double()[:, None], right=True)[:, 0]
    # Float32 sums differ by up to 1e-6; a number that close to a boundary may fall on either side.
    below = (cumulative - probs).gather(-1, tokens[:, None])[:, 0]
    above = cumulative.gather(-1, tokens[:, None])[:, 0]
    assert bool(((below - 2e-6 <= uniforms) & (uniforms <= above + 2e-6)).all())
    assert float((tokens == position).float().mean()) > 0.97
    expected = probs.gather(-1, tokens[:, None])[:, 0].log()
    assert log_probs.tolist() == pytest.approx(expected.tolist(), abs=3e-6)
    assert bool((probs.gather(-1, tokens[:, None]) > 0).all())
    monkeypatch.setattr(sampling, "LARGE_VOCABULARY", 10**9)
    plain_tokens, plain_log_probs = draw(logits, uniforms, chosen)
    assert float((tokens == plain_tokens).float().mean()) > 0.97
    same = tokens == plain_tokens
    # One unlikely token more or less in a nucleus moves the others by its probability.
    tolerance = 3e-6 if chosen.top_p == 1 else 5e-4
    assert log_probs[same].tolist() == pytest.approx(plain_log_probs[same].tolist(), abs=tolerance)


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_the_ends_of_the_interval_draw_possible_tokens_in_every_block(number):
    logits = torch.full((4, VOCAB), -torch.inf)
    for row, tokens in enumerate([(0, 9), (127, 128), (700, 4_000), (VOCAB - 1, VOCAB - 2)]):
        logits[row, list(tokens)] = torch.tensor([1.0, 0.5])
    tokens, log_probs = draw(logits, torch.full((4,), number), SamplingConfig())
    assert tokens.tolist() == (
        [0, 127, 700, VOCAB - 2] if number == 0 else [9, 128, 4_000, VOCAB - 1]
    )
    # log softmax of (1, 0.5): -0.474077 and -0.974077.
    likeliest = torch.tensor([number == 0] * 3 + [number != 0])
    assert log_probs.tolist() == pytest.approx(
        torch.where(likeliest, -0.474077, -0.974077).tolist(), abs=1e-5
    )


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0])
def test_the_nucleus_of_a_large_vocabulary_is_that_of_a_whole_sort(top_p, scale, monkeypatch):
    logits, chosen = some_logits(5, scale=scale), SamplingConfig(top_p=top_p)
    found = processed_log_probs(logits, chosen)
    monkeypatch.setattr(sampling, "LARGE_VOCABULARY", 10**9)
    expected = processed_log_probs(logits, chosen)
    kept, whole = found.isfinite().sum(-1), expected.isfinite().sum(-1)
    # Cumulative sums of float32 move the threshold by a token or two where tokens are unlikely.
    assert bool(((kept - whole).abs() <= 2 + 0.001 * whole).all())
    both = found.isfinite() & expected.isfinite()
    assert found[both].tolist() == pytest.approx(expected[both].tolist(), abs=1e-3)
