"""Writes the golden files of TensorsTests beside itself.

Made with Python 3.11, torch 2.13.0 (CPU), safetensors 0.8.0, numpy 2.4.6, seed 20240607:
    pip install torch safetensors numpy && python make_goldens.py
"""

import json
import pathlib
import struct

import numpy as np
import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
SEED = 20240607
torch.manual_seed(SEED)
rng = np.random.default_rng(SEED)


def bits(values, dtype=torch.int32):
    return values.view(dtype)


def float8_inputs():
    """Every code's value, the halves between neighbours and the floats next to those, edges, and random bits."""
    out = []
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        codes = torch.arange(256, dtype=torch.uint8).view(dtype).to(torch.float32)
        finite = np.sort(codes[torch.isfinite(codes)].numpy())
        halves = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
        for array in (finite, halves):
            out += [array, np.nextafter(array, np.float32(np.inf)), np.nextafter(array, np.float32(-np.inf))]
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 448, 449, 463.99997, 464, 464.00003, 480, 1e9, 57344, 61439.996, 61440, 65504, 1e-45, 1e-38, 3.4e38]
    out.append(np.array(edges + [-x for x in edges], dtype=np.float32))
    out.append(rng.integers(0, 2**32, 1500, dtype=np.uint32).view(np.float32))
    out.append((rng.standard_normal(1500) * np.exp(rng.uniform(-14, 12, 1500))).astype(np.float32))
    return torch.from_numpy(np.concatenate(out).astype(np.float32))


def bfloat16_inputs():
    high = rng.integers(0, 2**16, 1200, dtype=np.uint32) << 16
    low = rng.choice(np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=np.uint32), 1200)
    edges = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x7F7F8000, 0x7F7F7FFF, 1, 0x8000, 0x8001, 0x18000], dtype=np.uint32)
    return torch.from_numpy(np.concatenate([high | low, edges]).view(np.float32).copy())


def write_casts():
    x8, x16 = float8_inputs(), bfloat16_inputs()
    # NaNs are left to the tests: their payload differs from one of PyTorch's code paths to another.
    x16 = x16[~torch.isnan(x16)]
    save_file(
        {
            "float8.input": x8,
            "float8.e4m3": x8.to(torch.float8_e4m3fn).view(torch.uint8),
            "float8.e5m2": x8.to(torch.float8_e5m2).view(torch.uint8),
            "codes.e4m3": torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).to(torch.float32),
            "codes.e5m2": torch.arange(256, dtype=torch.uint8).view(torch.float8_e5m2).to(torch.float32),
            "bfloat16.input": x16,
            "bfloat16.bits": bits(x16.to(torch.bfloat16), torch.int16).view(torch.uint16),
        },
        str(HERE / "casts.safetensors"),
    )


def write_types():
    """One tensor of each type, of odd shapes, beside what its elements are as float32."""
    tensors = {}
    shapes = [(1,), (31,), (3, 11), (127,), (1, 129), (5, 1, 7)]
    floats = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
    for dtype, shape in zip(floats, shapes):
        name = str(dtype).removeprefix("torch.")
        tensors[name] = (torch.randn(shape, dtype=torch.float32) * 3).to(dtype)
        tensors[name + ".float32"] = tensors[name].to(torch.float32).clone()
    for dtype in [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8]:
        info = torch.iinfo(dtype)
        tensors[str(dtype).removeprefix("torch.")] = torch.tensor([info.min, 1, info.max], dtype=dtype)
    tensors["bool"] = torch.tensor([True, False, True, True, False])
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros((0, 3))
    save_file(tensors, str(HERE / "types.safetensors"), metadata={"naïve \"text\"": "line\nbreak"})


def write_unaligned():
    """A float32 tensor behind three bytes, in a file whose header is not padded, as old writers left them."""
    header = {
        "bytes": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "floats": {"dtype": "F32", "shape": [5], "data_offsets": [3, 23]},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    if (8 + len(text) + 3) % 4 == 0:
        text += b" "
    data = bytes([1, 2, 3]) + np.array([0.5, -1.25, 3e8, 0, 7], dtype="<f4").tobytes()
    (HERE / "unaligned.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_arrays():
    values = rng.standard_normal((7, 33)).astype("<f4")
    np.save(HERE / "matrix.npy", values)
    np.save(HERE / "scalar.npy", np.array(1.5, dtype="<f4"))
    np.save(HERE / "vector.npy", np.arange(129, dtype="<f4"))
    np.save(HERE / "empty.npy", np.zeros((0, 5), dtype="<f4"))
    np.save(HERE / "columns.npy", np.asfortranarray(values[:3, :4]))
    np.save(HERE / "doubles.npy", values[:2, :2].astype("<f8"))
    for version in (2, 3):
        with open(HERE / f"version{version}.npy", "wb") as file:
            np.lib.format.write_array(file, values[:3, :5], version=(version, 0))
    # The matrix once more, where the tests can read it without this reader.
    (HERE / "matrix.bin").write_bytes(values.tobytes())


write_casts()
write_types()
write_unaligned()
write_arrays()
