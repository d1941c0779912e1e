"""The text, its split, and the two ways in which it is cut: into speeches and into passages.

The corpus is tinyshakespeare.txt: 1,115,394 bytes of ASCII, speeches parted by an empty line, each headed by its
speaker's name and a colon. All boundaries lie between two speeches.

The text model learns from the first 90 % and is measured on the last 10 %; hyper-parameters were chosen by runs that
learned from the first 85 % and were measured on the next 5 %.

The embedder never sees the last 10 % either. The first 90 % are cut into stretches of 10,000 characters; of each ten
the last is held out, and the fifth was it while hyper-parameters were chosen.
"""

import re


def read_corpus(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def boundary(text, fraction):
    """The start of the last speech that begins before this fraction of the text."""
    return text.rfind("\n\n", 0, int(len(text) * fraction)) + 2


def split(text, train_until, until):
    """(train, rest up to `until`): both whole speeches."""
    a, b = boundary(text, train_until), boundary(text, until) if until < 1 else len(text)
    return text[:a], text[a:b]


def stretches(text, held_out):
    """(training pieces, held-out stretches) of the first 90 %; `held_out`: which of each ten stretches, as a set."""
    text = text[: boundary(text, 0.9)]
    bounds = [0, *(text.rfind("\n\n", 0, at) + 2 for at in range(10_000, len(text) - 5_000, 10_000)), len(text)]
    train, held, continues = [], [], False
    for i in range(len(bounds) - 1):
        piece = text[bounds[i] : bounds[i + 1]]
        if i % 10 in held_out:
            held.append(piece)
        elif continues:
            train[-1] += piece
        else:
            train.append(piece)
        continues = i % 10 not in held_out
    return train, held


VALIDATION, HELD_OUT = 4, 9


def speeches(text):
    """[(speaker, words)] in order; what has no speaker's line is left out."""
    found = []
    for block in text.split("\n\n"):
        name, colon, words = block.strip("\n").partition(":\n")
        if colon and "\n" not in name and words:
            found.append((name, words))
    return found


def passages(text, character_count=500):
    """Consecutive pieces of whole lines, each the shortest that reaches `character_count`; a shorter rest is dropped."""
    found, current = [], ""
    for line in text.splitlines(keepends=True):
        current += line
        if len(current) >= character_count:
            found.append(current.strip())
            current = ""
    return found


def words(text):
    return re.findall(r"[a-z']+", text.lower())
