"""Writes sampling.json: logits, parameters, and the probabilities that transformers' processors and warpers leave.

    pip install "torch==2.13.0" "transformers==5.23.0"
    python make_sampling.py

Each case applies repetition penalty, temperature, top-k, top-p and min-p in the order of transformers' generation, then softmax.
"""

import json
import pathlib

import torch
from transformers import (
    LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

SEED = 20261121


def main():
    generator = torch.Generator().manual_seed(SEED)
    cases = []
    for index in range(60):
        size = [5, 33, 200][index % 3]
        logits = torch.randn(size, generator=generator) * [1.0, 3.0, 8.0][index // 3 % 3]
        if index % 7 == 0:
            logits = (logits * 2).round() / 2  # ties
        prompt = torch.randint(0, size, (6,), generator=generator).tolist()
        pick = lambda values: values[int(torch.randint(0, len(values), (1,), generator=generator))]
        parameters = dict(
            repetition_penalty=pick([1.0, 1.0, 1.3, 0.8]), temperature=pick([1.0, 0.3, 0.7, 1.7]), top_k=pick([0, 0, 1, 4, 20]),
            top_p=pick([1.0, 1.0, 0.9, 0.5, 0.05]), min_p=pick([0.0, 0.0, 0.1, 0.5]))
        steps = LogitsProcessorList()
        if parameters["repetition_penalty"] != 1.0:
            steps.append(RepetitionPenaltyLogitsProcessor(parameters["repetition_penalty"]))
        if parameters["temperature"] != 1.0:
            steps.append(TemperatureLogitsWarper(parameters["temperature"]))
        if parameters["top_k"]:
            steps.append(TopKLogitsWarper(parameters["top_k"]))
        # Equal logits at the border of top-p are ordered as torch's sort happens to; cases with ties leave it out.
        if index % 7 == 0:
            parameters["top_p"] = 1.0
        if parameters["top_p"] < 1.0:
            steps.append(TopPLogitsWarper(parameters["top_p"]))
        if parameters["min_p"]:
            steps.append(MinPLogitsWarper(parameters["min_p"]))
        scores = steps(torch.tensor([prompt]), logits[None].clone())[0]
        cases.append(dict(
            logits=logits.tolist(), prompt=prompt, **parameters, probabilities=torch.softmax(scores.double(), -1).tolist()))
    path = pathlib.Path(__file__).parent / "sampling.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
