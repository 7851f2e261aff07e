"""A torch file writer without torch, and a server on loopback whose connections can break."""

import contextlib
import hashlib
import http.server
import io
import math
import pickle
import re
import threading
import zipfile

import numpy as np
import pytest

_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
_STORAGES |= {
    "bfloat16": "BFloat16Storage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
}


class TorchWriter:
    """Writes torch's two formats opcode by opcode.

    A tensor is `(storage key, shape, strides, offset)`; storages are arrays by key. A legacy storage may be
    a view of another, `(key, offset, size)`.
    """

    @staticmethod
    def name(module, name):
        return f"c{module}\n{name}\n".encode()

    @staticmethod
    def plain(value):
        return pickle.dumps(value, 2)[2:-1]

    def tensor(self, storages, key, shape, strides, offset=0, *, legacy=False, view=None):
        storage = storages[key]
        pid = b"(" + self.plain("storage") + self.name("torch", _STORAGES[storage.dtype.name])
        pid += self.plain(key) + self.plain("cpu") + self.plain(storage.size)
        pid += (self.plain(view) if legacy else b"") + b"tQ"
        made = self.name("torch._utils", "_rebuild_tensor_v2") + b"(" + pid + self.plain(offset)
        made += self.plain(shape) + self.plain(strides) + self.plain(False)
        return made + self.name("collections", "OrderedDict") + b")RtR"

    def program(self, entries):
        items = b"".join(self.plain(key) + value for key, value in entries.items())
        return b"\x80\x02}(" + items + b"u."

    def zip(self, path, program, storages, *, order="little"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/byteorder", order)
            for key, storage in storages.items():
                data = storage if order == "little" else storage.byteswap()
                archive.writestr(f"archive/data/{key}", data.tobytes())
            archive.writestr("archive/version", "3\n")

    def legacy(self, path, program, storages):
        file = io.BytesIO()
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            file.write(pickle.dumps(value, 2))
        file.write(program)
        file.write(pickle.dumps(list(storages), 2))
        for storage in storages.values():
            file.write(storage.size.to_bytes(8, "little") + storage.tobytes())
        path.write_bytes(file.getvalue())

    def save(self, path, arrays, *, legacy=False, order="little"):
        """Writes whole arrays, each in a storage of its own."""
        storages = {
            str(i): np.ascontiguousarray(a).reshape(-1) for i, a in enumerate(arrays.values())
        }
        entries = {}
        for key, (name, array) in zip(storages, arrays.items()):
            strides = tuple(math.prod(array.shape[i + 1 :]) for i in range(array.ndim))
            entries[name] = self.tensor(storages, key, array.shape, strides, legacy=legacy)
        if legacy:
            self.legacy(path, self.program(entries), storages)
        else:
            self.zip(path, self.program(entries), storages, order=order)


@pytest.fixture
def torch_writer():
    return TorchWriter()


class Loopback:
    """Serves `files` (path to bytes, or to a function of the handler) and notes each request.

    `break_after`: bytes after which a body's connection breaks, one entry an answer.
    """

    def __init__(self):
        self.files = {}
        self.requests = []
        self.break_after = []
        self.knows_ranges = True
        self.lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                with server.lock:
                    server.requests.append((self.command, self.path, self.headers.get("Range")))
                found = server.files.get(self.path.partition("?")[0])
                if callable(found):
                    found(self)
                elif found is None:
                    self.answer(b"not here", status=404)
                else:
                    self.answer(found)

            def answer(self, body, status=200, headers=()):
                total = len(body)
                match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                headers = dict(headers)
                if match and status == 200 and server.knows_ranges:
                    begin = int(match[1])
                    if begin >= total:
                        status, body = 416, b""
                        headers["Content-Range"] = f"bytes */{total}"
                    else:
                        status, body = 206, body[begin:]
                        headers["Content-Range"] = f"bytes {begin}-{total - 1}/{total}"
                self.send_response(status)
                headers.setdefault("Content-Type", "text/html")
                headers["Content-Length"] = str(len(body))
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                with server.lock:
                    breaks = self.path.startswith("/files/") and server.break_after
                    limit = server.break_after.pop(0) if breaks else None
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body[:limit])
                    self.wfile.flush()
                if limit is not None:
                    self.close_connection = True

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def index(self):
        return f"{self.url}/simple/"

    def publish(self, project, filename, data, *, sha256=None):
        """Adds a file to the simple index; `sha256=''` lists it without a hash."""
        digest = hashlib.sha256(data).hexdigest() if sha256 is None else sha256
        self.files[f"/files/{filename}"] = data
        fragment = f"#sha256={digest}" if digest else ""
        page = self.files.get(f"/simple/{project}/", b"<!DOCTYPE html><html><body>")
        link = f'<a href="/files/{filename}{fragment}">{filename}</a>'
        self.files[f"/simple/{project}/"] = page + link.encode()

    def fetches(self):
        """The requests for files, as (path, Range)."""
        return [(path, ranges) for _, path, ranges in self.requests if path.startswith("/files/")]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def loopback(monkeypatch):
    """A running `Loopback`, in an environment that names no cache, index, hub or proxy."""
    for variable in (
        "JAXTRANSFER_CACHE",
        "JAXTRANSFER_INDEX",
        "JAXTRANSFER_OFFLINE",
        "PIP_INDEX_URL",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(variable, raising=False)
    server = Loopback()
    yield server
    server.close()


@pytest.fixture
def wheel():
    """Makes a wheel's bytes from path to content."""

    def make(contents):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in contents.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return file.getvalue()

    return make
