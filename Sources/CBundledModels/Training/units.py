"""Token streams put together from units: a unit is what the tokenizer's split makes of the text, and tokens never cross units."""

import random

import numpy as np


def gather(table_start, table_length, table_tokens, unit_ids):
    """(tokens, first): the units' tokens one after another, and where each unit's tokens begin (one more at the end)."""
    length = table_length[unit_ids]
    first = np.concatenate([[0], np.cumsum(length)])
    within = np.arange(first[-1]) - np.repeat(first[:-1], length)
    return table_tokens[np.repeat(table_start[unit_ids], length) + within], first


class Table:
    """Unit number -> tokens, laid out flat."""

    def __init__(self, token_lists):
        self.length = np.array([len(tokens) for tokens in token_lists], dtype=np.int64)
        self.start = np.concatenate([[0], np.cumsum(self.length)])[:-1]
        self.tokens = np.array([token for tokens in token_lists for token in tokens], dtype=np.int32)

    def stream(self, unit_ids):
        return gather(self.start, self.length, self.tokens, np.asarray(unit_ids))


class DroppingBPE:
    """Byte-level BPE that leaves out each possible merge with a given chance (BPE-dropout, Provilkov et al. 2020)."""

    def __init__(self, vocabulary, merges):
        self.vocabulary = vocabulary
        self.rank = {tuple(pair): i for i, pair in enumerate(merges)}

    def encode(self, unit, chance, source):
        parts = list(unit)
        while len(parts) > 1:
            best = None
            for i in range(len(parts) - 1):
                rank = self.rank.get((parts[i], parts[i + 1]))
                if rank is not None and (best is None or rank < best[0]) and (chance == 0 or source.random() >= chance):
                    best = (rank, i)
            if best is None:
                break
            i = best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return [self.vocabulary[part] for part in parts]

    def table(self, units, special, chance, seed):
        source = random.Random(seed)
        return Table([[special[unit]] if unit in special else self.encode(unit, chance, source) for unit in units])
