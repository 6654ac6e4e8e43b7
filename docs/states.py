"""Reads shards of states; docs/formats.md describes them. With a path it prints a line of JSON for each
prompt and trajectory. It takes numpy and zstandard, and checks no checksums: ivo states verify does."""
import json, struct, sys
import numpy as np, zstandard

FLOATS = {"f16": "<f2", "bf16": "<u2", "f32": "<f4"}

def planes(raw, n, dtype):
    """n numbers from their byte planes, and what follows these."""
    size = np.dtype(dtype).itemsize
    split = np.frombuffer(raw[:n * size], "u1").reshape(size, n)
    return np.ascontiguousarray(split.T).view(dtype).ravel(), raw[n * size:]

def unpacked(data, n):
    """A plane of n upper bytes that is packed: 56 bits for every eight, then what has no place in them."""
    words, least = n // 8, data[1]
    codes = np.zeros((words, 8), "u1")
    codes[:, :7] = np.frombuffer(data[2:2 + 7 * words], "u1").reshape(words, 7)
    codes = (codes.view("<u8") >> np.arange(0, 56, 7, dtype="u8")).astype("u1").ravel() & 127
    out = (codes & 64) << 1 | ((codes >> 2 & 15) + least & 31) << 2 | codes & 3
    tail = data[2 + 7 * words:]
    out[codes >> 2 & 15 == 15] = np.frombuffer(tail[n % 8:], "u1")
    return out.tobytes() + tail[:n % 8]

def page(data, lengths, n, scalars, k, width, dtype):
    """The columns of n rows: tokens, scalars, candidates, their log-probabilities, states."""
    sizes = [4 * n * (1 + scalars)] + ([4 * n * k] + 2 * [n * k] if k else [])
    sizes += np.dtype(dtype).itemsize * [n * width] if width else []
    raw = b""
    for size, length in zip(sizes, lengths):
        stream, data = data[:length], data[length:]
        raw += stream if length == size else unpacked(stream, size) if stream[0] == ord("P") else zstandard.decompress(stream)
    tokens, raw = planes(raw, n, "<i4")
    scalar, raw = planes(raw, n * scalars, "<f4")
    ids, raw = planes(raw, n * k, "<i4")
    logp, raw = planes(raw, n * k, "<f2")
    hidden, raw = planes(raw, n * width, dtype)
    if dtype == FLOATS["bf16"]:             # the upper half of a float32
        hidden = (hidden.astype("<u4") << 16).view("<f4")
    return tokens, scalar.reshape(n, scalars), ids.reshape(n, k), logp.reshape(n, k), hidden.astype("f4").reshape(n, width)

def read(path):
    """Yields ("prompt" or "trajectory", id, sample, tokens, scalars, candidates, log-probabilities, states)."""
    b = open(path, "rb").read()
    magic, version, n = struct.unpack_from("<8sII", b)
    assert magic == b"IVOSTATE" and version in (3, 4)
    s = json.loads(b[16:16 + n])
    dtype = FLOATS[s["float"]]
    size, scalars, k = np.dtype(dtype).itemsize, len(s["scalars"] or []), s.get("candidates", 0)
    prompt_width = s["width"] // len(s["layers"]) * len(s.get("prompt_layers", []))
    at = 2 * (16 + n + 8)                   # behind both copies of the header
    while b[at:at + 4] == b"BLCK":
        _, _, _, trajectories, prompts, length, page_bytes = struct.unpack_from("<IQQIIIQ", b, at + 4)
        d, pages = at + 44, at + 44 + length + 8
        def number():                       # the directory's next uvarint
            nonlocal d
            v = shift = 0
            while True:
                d += 1
                v |= (b[d - 1] & 127) << shift
                shift += 7
                if b[d - 1] < 128:
                    return v
        def text():
            nonlocal d
            m = number()
            d += m
            return b[d - m:d].decode()
        per_page = {"prompt": number(), "trajectory": number()}
        names = [("prompt", text(), 0, number()) for _ in range(prompts)]
        names += [("trajectory", text(), number(), number()) for _ in range(trajectories)]
        for kind, layout in ("prompt", (0, 0, prompt_width, dtype)), ("trajectory", (scalars, k, s["width"], dtype)):
            mine = [x for x in names if x[0] == kind]
            left, parts = sum(x[3] for x in mine), []
            streams = 1 + (3 if layout[1] else 0) + (size if layout[2] else 0)
            while left > 0:
                m = min(left, per_page[kind])
                lengths = [number() for _ in range(streams)]
                d += 8                      # the page's checksum
                parts.append(page(b[pages:pages + sum(lengths)], lengths, m, *layout))
                pages += sum(lengths)
                left -= m
            if parts:
                columns, row = [np.concatenate(c) for c in zip(*parts)], 0
                for name in mine:
                    yield name[:3] + tuple(c[row:row + name[3]] for c in columns)
                    row += name[3]
        at += 44 + length + 8 + page_bytes

if __name__ == "__main__":
    for kind, id, sample, *columns in read(sys.argv[1]):
        names = "tokens", "scalars", "candidates", "candidate_logprobs", "states"
        print(json.dumps({"kind": kind, "id": id, "sample": sample} | {n: c.tolist() for n, c in zip(names, columns)}))
