"""Writes hub-cache.json: the cache folder that huggingface_hub leaves after fetching a small repository from a local server.

Made with huggingface_hub 2.4.0, Python 3.11. Run: python make_hub_cache.py > hub-cache.json
"""
import hashlib, http.server, json, os, tempfile, threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "tiny/embedder"
FILES = {
    "config.json": b'{"model_type": "gemma3_text", "num_hidden_layers": 2}',
    "modules.json": b'[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
    b'{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]',
    "1_Pooling/config.json": b'{"word_embedding_dimension": 8, "pooling_mode_lasttoken": true}',
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": bytes((i * 31 + 7) % 251 for i in range(5000)),
}
LARGE = {"model.safetensors"}  # kept as LFS on the hub: named by sha256


def etag(name):
    data = FILES[name]
    if name in LARGE:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", headers={}, length=None):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        for revision in ("main", COMMIT):
            prefix = f"/{REPOSITORY}/resolve/{revision}/"
            if path.startswith(prefix) and path[len(prefix):] in FILES:
                name = path[len(prefix):]
                headers = {"ETag": f'"{etag(name)}"', "X-Repo-Commit": COMMIT}
                if name in LARGE:
                    headers = {"X-Linked-Etag": f'"{etag(name)}"', "X-Linked-Size": str(len(FILES[name])), "X-Repo-Commit": COMMIT,
                               "Location": f"http://localhost:{PORT}/storage/{name}"}
                    return self.answer(302, headers=headers)
                return self.answer(200, FILES[name], headers)
            if path == f"/api/models/{REPOSITORY}/tree/{revision}":
                tree = []
                for name in FILES:
                    entry = {"type": "file", "path": name, "size": len(FILES[name]), "oid": etag(name) if name not in LARGE else "0" * 40}
                    if name in LARGE:
                        entry["lfs"] = {"oid": etag(name), "size": len(FILES[name]), "pointerSize": 134}
                    tree.append(entry)
                return self.answer(200, json.dumps(tree).encode(), {"X-Repo-Commit": COMMIT})
            if path in (f"/api/models/{REPOSITORY}/revision/{revision}", f"/api/models/{REPOSITORY}"):
                listing = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}
                return self.answer(200, json.dumps(listing).encode())
        if path.startswith("/storage/") and path[9:] in FILES:
            return self.answer(200, FILES[path[9:]])
        self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
PORT = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{PORT}"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.pop("HF_TOKEN", None)

import huggingface_hub

with tempfile.TemporaryDirectory() as cache:
    huggingface_hub.snapshot_download(REPOSITORY, cache_dir=cache)
    # Noted as absent, as transformers does with every optional file it looks for.
    for name in ("generation_config.json", "chat_template.jinja", "tokenizer_config.json", "config_sentence_transformers.json",
                 "sentence_bert_config.json"):
        try:
            huggingface_hub.hf_hub_download(REPOSITORY, name, cache_dir=cache)
        except huggingface_hub.errors.EntryNotFoundError:
            pass
    tree = []
    for folder, _, names in sorted(os.walk(cache)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, cache)
            # Files that do not belong to the models: locks, the mark for backup programs, a cache of listings.
            if relative.startswith(".locks") or relative == "CACHEDIR.TAG" or "/trees/" in relative:
                continue
            if os.path.islink(path):
                tree.append({"path": relative, "link": os.readlink(path)})
            else:
                tree.append({"path": relative, "hex": open(path, "rb").read().hex()})
    scan = huggingface_hub.scan_cache_dir(cache)
    repo = next(iter(scan.repos))
    revision = next(iter(repo.revisions))
    print(json.dumps({
        "versions": {"huggingface_hub": huggingface_hub.__version__},
        "repository": REPOSITORY, "commit": COMMIT,
        "files": [{"name": name, "hex": data.hex(), "etag": etag(name), "isLarge": name in LARGE} for name, data in FILES.items()],
        "tree": tree,
        "scan": {"byteCount": repo.size_on_disk, "fileCount": revision.nb_files, "refs": sorted(revision.refs),
                 "revisionByteCount": revision.size_on_disk, "warnings": len(scan.warnings)},
    }, indent=1))
