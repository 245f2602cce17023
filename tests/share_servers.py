"""Servers that tests of sharing start: a web server that fails in every way, as much of S3 and a hub as is asked."""
import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Handler(BaseHTTPRequestHandler):
    """Shared by both: keeps connections, says nothing, sends a body whole or a part of it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def send(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def asked_range(self, size):
        """(first byte, end) of the request, or None."""
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        if not wanted:
            return None
        first, _, last = wanted.partition("-")
        return int(first), min(size, int(last) + 1 if last else size)


class WebHandler(Handler):
    """Serves a folder; `server.fault(path, number)` says what goes wrong at the n-th request for a path."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server, path = self.server, urlsplit(self.path).path.lstrip("/")
        number = sum(asked == path for asked, _ in server.log)
        server.log.append((path, self.headers.get("Range")))
        fault = server.fault(path, number) or {}
        file = server.root / path
        if "answer" in fault:
            return self.send(fault["answer"], b"busy", **fault.get("headers", {}))
        if not file.is_file():
            return self.send(404)
        body = file.read_bytes()
        part = None if fault.get("ignores ranges") else self.asked_range(len(body))
        if part and part[0] >= len(body):
            return self.send(416)
        start, stop = part or (0, len(body))
        sent = body[start:stop]
        if fault.get("wrong"):
            sent = sent[:-1] + bytes([sent[-1] ^ 1])
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(len(sent)))
        if part:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
        self.end_headers()
        if self.command == "HEAD":
            return None
        cut = fault.get("break after", len(sent))
        self.wfile.write(sent[:cut])
        if cut < len(sent):
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
        return None


class S3Handler(Handler):
    """Objects of any bucket in memory: put (also in parts), get, head, list, delete."""

    def split(self):
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return bucket, key, {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self):
        _, key, query = self.split()
        body, server = self.body(), self.server
        if server.refuses and server.refuses(key):
            return self.send(403, b"<Error><Code>AccessDenied</Code></Error>")
        if "uploadId" in query:
            server.parts.setdefault(query["uploadId"], {})[int(query["partNumber"])] = body
        else:
            server.objects[key] = body
            server.log.append(key)
        return self.send(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def do_POST(self):
        bucket, key, query = self.split()
        body = self.body()
        if "uploads" in query:
            return self.send(200, f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>"
                             f"{key}</UploadId></InitiateMultipartUploadResult>".encode())
        if "delete" in query:
            keys = [piece.partition("</Key>")[0] for piece in body.decode().split("<Key>")[1:]]
            for key in keys:
                self.server.objects.pop(key, None)
            gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return self.send(200, f"<DeleteResult>{gone}</DeleteResult>".encode())
        parts = self.server.parts.pop(query["uploadId"])
        self.server.objects[key] = b"".join(parts[number] for number in sorted(parts))
        self.server.log.append(key)
        return self.send(200, f"<CompleteMultipartUploadResult><Location>x</Location><Bucket>{bucket}</Bucket><Key>"
                         f"{key}</Key><ETag>x</ETag></CompleteMultipartUploadResult>".encode())

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        bucket, key, query = self.split()
        if "list-type" in query:
            return self.send(200, self.listing(bucket, query.get("prefix", "")).encode(),
                             Content_Type="application/xml")
        body = self.server.objects.get(key)
        if body is None:
            return self.send(404, b"<Error><Code>NoSuchKey</Code></Error>")
        part = self.asked_range(len(body))
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT"}
        if part:
            headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{len(body)}"
        if self.command == "HEAD":
            headers["Content-Length"] = len(body)
        return self.send(206 if part else 200, body[slice(*part)] if part else body, **headers)

    def do_DELETE(self):
        self.server.objects.pop(self.split()[1], None)
        return self.send(204)

    def listing(self, bucket, prefix):
        found = "".join(f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size><ETag>x</ETag><LastModified>"
                        f"2026-10-21T07:28:00.000Z</LastModified></Contents>"
                        for key, body in sorted(self.server.objects.items()) if key.startswith(prefix))
        return (f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>9</KeyCount>"
                f"<IsTruncated>false</IsTruncated>{found}</ListBucketResult>")


@contextlib.contextmanager
def serve(handler, **state):
    """Run a server for as long as the block runs; gives it, with `url`, `log` and what `state` says."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.log, server.objects, server.parts, server.refuses = [], {}, {}, None
    server.fault = lambda path, number: None
    vars(server).update(state)
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve_folder(root: Path):
    """A web server over a folder."""
    return serve(WebHandler, root=root)


class HubHandler(Handler):
    """One data set repository of a Hugging Face hub, files as they are asked for by huggingface_hub."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urlsplit(self.path)
        path, objects = unquote(parts.path), self.server.objects
        if "/resolve/main/" in path:
            body = objects.get(path.partition("/resolve/main/")[2])
            if body is None:
                return self.send(404, X_Error_Code="EntryNotFound")
            part = self.asked_range(len(body))
            return self.send(206 if part else 200, body[slice(*part)] if part else body, ETag='"x"',
                             X_Repo_Commit="0" * 40)
        if "/tree/main" in path:
            folder = path.partition("/tree/main")[2].strip("/")
            found = [entry(name, body) for name, body in objects.items() if name.startswith(folder)]
            folders = {name.rpartition("/")[0] for name in objects if "/" in name}
            return self.answer(found + [{"type": "directory", "path": name, "oid": "0" * 40} for name in folders])
        return self.answer({"id": "owner/name", "sha": "0" * 40, "private": False, "siblings": [], "tags": [],
                            "downloads": 0, "likes": 0, "author": "owner", "gated": False, "disabled": False})

    def do_POST(self):
        body, objects = self.rfile.read(int(self.headers["Content-Length"])), self.server.objects
        if "/paths-info/" in self.path:
            asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
            return self.answer([entry(name, objects[name]) for name in asked if name in objects])
        if "/preupload/" in self.path:
            return self.answer({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                                          for file in json.loads(body)["files"]]})
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            if line["key"] == "file":
                objects[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del objects[line["value"]["path"]]
        self.server.log.append([line["value"]["path"] for line in lines if line["key"] != "header"])
        return self.answer({"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.server.url}/datasets/owner/"
                            f"name/commit/{'0' * 40}", "hookOutput": ""})

    def answer(self, value):
        return self.send(200, json.dumps(value).encode(), Content_Type="application/json")


def entry(name, body):
    return {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
