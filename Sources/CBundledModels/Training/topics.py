"""Where the embedder starts: a table of word vectors from the training passages (latent semantic analysis), laid into a
Gemma3 stack so that the untrained model is already the mean of its words' vectors, rare words weighing more.

The last RMSNorm gives every token the same length, which would take the words' weights away. One dimension is therefore
kept apart: it fills each word's vector up to the same length, and the norm's factor 1 + w is 0 there.
"""

import numpy as np
import torch
import torch.nn.functional as F


def topic_vectors(texts, vocabulary, size, first_word, reach=1):
    """[vocabulary, size]: each token's part in the leading directions of passages by tokens, times its rarity squared.

    A row is a passage together with the `reach` passages before and after it, its tokens weighted by idf^1.5.
    """
    counts = np.zeros((len(texts), vocabulary), dtype=np.float32)
    for row, tokens in enumerate(texts):
        np.add.at(counts[row], tokens, 1)
    counts[:, :first_word] = 0
    documents = (counts > 0).sum(0)
    rarity = np.log(1 + (len(texts) - documents + 0.5) / (documents + 0.5)).astype(np.float32)
    rarity[:first_word] = 0
    rows = F.normalize(torch.from_numpy(counts * rarity**1.5), dim=-1)
    near = np.abs(np.subtract.outer(np.arange(len(texts)), np.arange(len(texts)))) <= reach
    rows = F.normalize(torch.from_numpy(near.astype(np.float32)) @ rows, dim=-1)
    _, left = torch.linalg.eigh((rows @ rows.T).double())
    right = F.normalize(left.float().flip(1)[:, :size].T @ rows, dim=-1)
    return right.T * torch.from_numpy(rarity**2)[:, None]


@torch.no_grad()
def start_from_topics(model, vectors, spread, branch=0.0):
    """`vectors` [V, C - 1] into the table; words without one get little noise; branches start at `branch` of their size."""
    hidden = model.s.hidden
    vectors = vectors.to(model.embed_tokens.weight.device)
    vectors = vectors / vectors.norm(dim=-1).quantile(0.995)
    vectors = vectors + spread * torch.randn_like(vectors) / (hidden - 1) ** 0.5
    length = vectors.norm(dim=-1, keepdim=True)
    vectors = vectors * (0.98 / length.clamp(min=0.98))
    rest = (1 - vectors.square().sum(-1, keepdim=True)).sqrt()
    model.embed_tokens.weight.copy_(torch.cat([vectors, rest], -1))
    model.norm.weight[-1] = -1
    for layer in model.layers:
        layer.post_attention_layernorm.weight.fill_(branch - 1)
        layer.post_feedforward_layernorm.weight.fill_(branch - 1)
