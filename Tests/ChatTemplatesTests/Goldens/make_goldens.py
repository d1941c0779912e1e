#!/usr/bin/env python3
"""Writes the goldens of this folder with the real thing: `render_jinja_template` of transformers over jinja2.

    make_goldens.py                                          the committed files (seed 20250)
    make_goldens.py --templates N --seed S --output FILE     N random templates for the test that reads APUS_TEMPLATE_CASES
    make_goldens.py --conversations N --seed S --output FILE --config tokenizer_config.json
                                                             N conversations under a real template for APUS_CONVERSATION_CASES

Written with jinja2 3.1.6, markupsafe 3.0.4, transformers 5.23.0 and Python 3.11.7. The clock stands at 2024-07-26 15:04:09.
"""
import argparse
import copy
import datetime
import json
import pathlib
import warnings

from transformers.utils import chat_template_utils

import conversations
import mixed_templates
import typed_templates

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 15, 4, 9)


chat_template_utils.datetime = Clock


def outcome(render):
    """The rendered text, or None where jinja2 fails. Texts with lone surrogates are no text."""
    try:
        text = render()
        text.encode("utf-8")
        return text
    except Exception:
        return None


def render_template(source, context):
    compile_template = chat_template_utils._cached_compile_jinja_template
    return outcome(lambda: compile_template(source).render(**copy.deepcopy(context)))


def render_conversation(source, case):
    case = copy.deepcopy(case)
    return outcome(
        lambda: chat_template_utils.render_jinja_template(
            [case["messages"]], tools=case["tools"], chat_template=source, add_generation_prompt=case["addGenerationPrompt"], **case["variables"]
        )[0][0]
    )


def random_templates(seed, count, longest=100_000):
    """Half of them typed, so that most render, half of them careless, so that many fail."""
    cases, number = [], seed * 1_000_000
    while len(cases) < count:
        number += 1
        maker, kind = [(typed_templates, "typed"), (mixed_templates, "mixed")][number % 2]
        source = maker.template(number)
        if len(source) > longest:
            continue
        expected = render_template(source, maker.CONTEXT)
        if expected is None and len(source) > longest / 3:
            continue
        cases.append({"context": kind, "source": source, "expected": expected})
    return {"contexts": {"typed": typed_templates.CONTEXT, "mixed": mixed_templates.CONTEXT}, "cases": cases}


def fingerprint(text):
    """FNV-1a, 64 bits: goldens of templates whose text is not ours are kept as fingerprints."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def write(path, value):
    lines = json.dumps(value, ensure_ascii=False, indent=0)
    pathlib.Path(path).write_text(lines + "\n")


def committed():
    write(HERE / "random-templates.json", random_templates(20250, 500, longest=500))
    written = json.loads((HERE / "constructs.json").read_text())
    for case in written["cases"]:
        case["expected"] = render_template(case["source"], written["context"])
    write(HERE / "constructs.json", written)
    cases = conversations.conversations(20250, 60)
    rendered = {}
    for path in sorted((HERE / "templates").glob("*.jinja")):
        rendered[path.stem] = [render_conversation(path.read_text(), case) for case in cases]
    write(HERE / "conversations.json", {"conversations": cases, "rendered": rendered})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--templates", type=int)
    parser.add_argument("--conversations", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output")
    parser.add_argument("--config")
    options = parser.parse_args()
    if options.templates:
        write(options.output, random_templates(options.seed, options.templates))
    elif options.conversations:
        source = json.loads(pathlib.Path(options.config).read_text())["chat_template"]
        cases = conversations.conversations(options.seed, options.conversations)
        texts = [render_conversation(source, case) for case in cases]
        marks = [None if text is None else fingerprint(text) for text in texts]
        write(options.output, {"conversations": cases, "fingerprints": marks})
    else:
        committed()


main()
