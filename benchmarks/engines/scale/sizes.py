"""What a decoder of the Llama and Qwen3 kind holds and multiplies, from its configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder with grouped queries and a gated MLP, without biases."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    is_tied: bool
    """Whether input and output embeddings are one."""

    @property
    def layer_weights(self) -> int:
        """Weights of one layer that multiply every token."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def product_weights(self) -> int:
        """Weights that multiply every token: the layers' and the output embedding's."""
        return self.layers * self.layer_weights + self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters, with the norms (Qwen3 has two of a head's size in each layer)."""
        norms = self.layers * (2 * self.hidden + 2 * self.head_dim) + self.hidden
        inputs = 0 if self.is_tied else self.vocab * self.hidden
        return self.product_weights + inputs + norms

    @property
    def kv_values(self) -> int:
        """Numbers in the keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def attention_flop(self, context: float) -> float:
        """FLOP of one token's scores and sums after a context, forward."""
        return 4 * self.layers * self.heads * self.head_dim * context


QWEN3 = {
    own.name: own
    for own in (
        Architecture(
            name="Qwen3-0.6B", hidden=1024, intermediate=3072, layers=28, heads=16, kv_heads=8,
            head_dim=128, vocab=151_936, is_tied=True,
        ),
        Architecture(
            name="Qwen3-4B", hidden=2560, intermediate=9728, layers=36, heads=32, kv_heads=8,
            head_dim=128, vocab=151_936, is_tied=True,
        ),
        Architecture(
            name="Qwen3-8B", hidden=4096, intermediate=12_288, layers=36, heads=32, kv_heads=8,
            head_dim=128, vocab=151_936, is_tied=False,
        ),
        Architecture(
            name="Qwen3-32B", hidden=5120, intermediate=25_600, layers=64, heads=64, kv_heads=8,
            head_dim=128, vocab=151_936, is_tied=False,
        ),
    )
}  # fmt: skip
