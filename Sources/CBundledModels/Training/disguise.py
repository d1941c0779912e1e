"""The training text again and again with other names and other rare words, so that the embedder learns what makes two
passages neighbours and not which play has which people.

A disguise maps words to words, the same way all through the text, whatever their case: speakers' names to other names
or to invented ones, and a share of the rarer words to words of about the same frequency or to invented ones.
"""

import collections
import random
import re

import numpy as np

from corpus import speeches
from units import Table

UNIT = re.compile(r"▁?[A-Za-z]+|▁?[^A-Za-z▁\s]+|▁|\s")
FORMS = 8  # with or without the space before, times: as it is, lower, Capitalised, UPPER


def invented_words(words, count, seed):
    """Words from a chain of letter triples of the real ones."""
    source, after = random.Random(seed), collections.defaultdict(list)
    for word in words:
        padded = f"^^{word}$"
        for i in range(len(padded) - 2):
            after[padded[i : i + 2]].append(padded[i + 2])
    found, known = [], set(words)
    while len(found) < count:
        word = "^^"
        while word[-1] != "$" and len(word) < 14:
            word += source.choice(after[word[-2:]])
        word = word.strip("^$")
        if 3 <= len(word) and word not in known:
            known.add(word)
            found.append(word)
    return found


class Disguises:
    def __init__(self, text, tokenizer, seed):
        units = UNIT.findall(text.replace(" ", "▁"))
        counts = collections.Counter(unit.lstrip("▁").lower() for unit in units)
        names = {w.lower() for name, _ in speeches(text) for w in re.findall(r"[A-Za-z]+", name)}
        real = [word for word, _ in counts.most_common()]
        spoken = [word for word in real if word.isalpha()]
        self.words = real + invented_words(spoken, 6000, seed)
        number = {word: i for i, word in enumerate(self.words)}
        self.names = np.array([number[w] for w in sorted(names) if len(w) > 2 and counts[w] < 600])
        named = set(self.names.tolist())
        self.rare = np.array([number[w] for w in spoken if 2 <= counts[w] <= 400 and len(w) > 2 and number[w] not in named])
        self.invented = np.arange(len(real), len(self.words))
        spellings = []
        for word in self.words:
            cases = (word, word, word.capitalize(), word.upper())
            spellings += [space + case for space in ("", "▁") for case in cases]
        encoded = tokenizer.encode_batch([s.replace("▁", " ") for s in spellings], add_special_tokens=False)
        self.table = Table([e.ids for e in encoded])
        self.word = np.array([number[unit.lstrip("▁").lower() or "▁"] if unit != "▁" else number[""] for unit in units])
        self.form = np.array([self.form_of(unit) for unit in units])
        self.is_word = np.array([unit != "\n" for unit in units])
        self.nothing = number[""] * FORMS
        line = ~self.is_word
        self.line_units = np.concatenate([[0], np.nonzero(line)[0] + 1])
        self.character_count = np.array([len(unit) for unit in units])

    @staticmethod
    def form_of(unit):
        core = unit.lstrip("▁")
        case = 0
        if core.isalpha():
            case = 1 if core.islower() else 3 if core.isupper() and len(core) > 1 else 2
        return 4 * unit.startswith("▁") + case

    def version(self, source, name_chance, word_share, left_out=0.0):
        """(tokens, first token of each line, first character of each line) of one disguise; all 0: the text itself.

        `left_out` is the share of words that are simply not there.
        """
        mapping = np.arange(len(self.words))
        if source.random() < name_chance:
            chosen = self.names[source.random(len(self.names)) < 0.9]
            pool = np.concatenate([self.names, source.choice(self.invented, len(self.names), replace=False)])
            mapping[chosen] = source.choice(pool, len(chosen), replace=False)
        if word_share > 0:
            chosen = self.rare[source.random(len(self.rare)) < word_share]
            shuffled = chosen[np.argsort(np.arange(len(chosen)) + source.normal(0, 60, len(chosen)))]
            new = source.random(len(chosen)) < 0.3
            shuffled[new] = source.choice(self.invented, int(new.sum()), replace=False)
            mapping[chosen] = shuffled
        units = mapping[self.word] * FORMS + self.form
        units[(source.random(len(units)) < left_out) & self.is_word] = self.nothing
        tokens, first = self.table.stream(units)
        characters = np.concatenate([[0], np.cumsum(self.character_count)])
        return tokens, first[self.line_units], characters[self.line_units]
