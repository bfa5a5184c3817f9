#!/usr/bin/env python3
"""Uploads a file through InitUpload, UploadPart and FinishUpload, with the standard library alone.

    VOD_SECRET_ID=… VOD_SECRET_KEY=… python3 upload.py video.mp4 https://vod2.qcloud.com

It ends with 0 when the file is there, with 8 when it failed and the file may be there all the same, else with 1.
Run it again and it goes on where it stopped: what is there is the server's to say, so that nothing is kept here.
"""

import argparse
import base64
import concurrent.futures
import hashlib
import hmac
import http.client
import io
import json
import os
import random
import sys
import threading
import time
import urllib.parse

PATH = "/v2/index.php"
HOST = "vod2.qcloud.com"  # The host that is signed, whatever address is connected to.

RETRIES = 50  # How many retries a whole upload spends: a server in trouble must not meet every retry of every part.
REOPENINGS = 2  # How often the upload begins anew because the server lost something of it.
SLOWEST = 256 << 10  # The slowest link that is waited for, in bytes a second.
PASSING = (4400, 6000, 6200)  # Over quota, internal error, maintenance: these pass, whatever canRetry says.
NO_SESSION = -10005


class Failed(Exception):
    """The upload has failed."""


class Refused(Failed):
    """The server said no, in the words of the protocol."""

    def __init__(self, action, reply):
        self.action, self.code = action, int(reply["code"])
        super().__init__(f"{action}: the server answered {self.code}: {reply.get('message')}")
        # A negative code may be tried again where canRetry is 1; of the positive ones, those that pass.
        self.again = int(reply.get("canRetry") or 0) == 1 if self.code < 0 else self.code in PASSING


class NoAnswer(Failed):
    """Nobody knows what became of the request: it was cut off, or its answer is none of this protocol."""

    again = True

    def __init__(self, why, retry_after=0.0):
        super().__init__(why)
        self.retry_after = retry_after


class Unclear(Failed):
    """The file may be there, and nobody can tell."""


class SessionGone(Failed):
    """The server has forgotten the upload."""


class Service:
    """The server, one request at a time for each thread."""

    def __init__(self, endpoint, secret_id, secret_key, attempts, silence):
        self.url = urllib.parse.urlsplit(endpoint)
        self.secret_id, self.secret_key = secret_id, secret_key
        self.attempts, self.silence = attempts, silence
        self.retries, self.lock = RETRIES, threading.Lock()

    def sign(self, method, params):
        """Adds the common parameters and the signature. Each attempt is signed anew, for a signature grows old."""
        params = params | {
            "Region": "gz",
            "Timestamp": int(time.time()),
            "Nonce": random.randint(1, 2**31),
            "SecretId": self.secret_id,
            "SignatureMethod": "HmacSHA256",
        }
        # Names in the order of their bytes, values before they are encoded for the URL.
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        text = f"{method}{HOST}{PATH}?{text}"
        digest = hmac.new(self.secret_key.encode(), text.encode(), hashlib.sha256).digest()
        return params | {"Signature": base64.b64encode(digest).decode()}

    def once(self, action, params, body=None):
        """Sends one request: parameters in the query, a part's bytes as the body and nothing else."""
        method = "GET" if body is None else "POST"
        query = urllib.parse.urlencode(self.sign(method, {"Action": action} | params))
        secure = self.url.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        # The limit is on silence, not on the whole: a slow link is no dead one. That is why the body is handed over as a
        # file, which is sent piece by piece, each with the whole time; bytes would have to go in that time all together.
        connection = connect(self.url.netloc, timeout=self.silence)
        headers = {} if body is None else {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        try:
            connection.request(method, f"{PATH}?{query}", body and io.BytesIO(body), headers)
            # All of it may still lie in the buffers of the system, and is sent before there can be an answer.
            connection.sock.settimeout(self.silence + len(body or b"") / SLOWEST)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"{action}: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            # A gateway, perhaps. It may say when to come back.
            wait = answer.headers.get("Retry-After", "0")
            raise NoAnswer(f"{action}: HTTP {answer.status}", float(wait) if wait.isdigit() else 0.0)
        try:
            reply = json.loads(text)
            code = int(reply["code"])
        except (ValueError, TypeError, KeyError) as error:
            raise NoAnswer(f"{action}: {text[:80]!r} is no answer of this protocol") from error
        # InitUpload has two answers more: 1, some parts are there, and 2, the whole file is.
        if code not in ((0, 1, 2) if action == "InitUpload" else (0,)):
            raise Refused(action, reply)
        return reply

    def wait(self, attempt, error):
        """Waits before the next attempt, longer each time and never as long as everybody else; or gives up."""
        if not error.again or attempt >= self.attempts:
            raise error
        with self.lock:
            self.retries -= 1
            if self.retries < 0:
                raise error
        pause = random.uniform(0.05, max(0.06, min(5.0, 0.1 * 2 ** (attempt - 1))))
        time.sleep(max(pause, getattr(error, "retry_after", 0.0)))

    def patiently(self, action, params, body=None):
        """Sends a request that may be repeated without harm until it is answered for good."""
        lost = 0
        for attempt in range(1, self.attempts + 1):
            try:
                return self.once(action, params, body)
            except (Refused, NoAnswer) as error:
                # The same code says that the session could not be read, which passes, and that there is none.
                lost = lost + 1 if getattr(error, "code", 0) == NO_SESSION else 0
                if lost == 2:
                    raise SessionGone(str(error)) from error
                self.wait(attempt, error)


class Upload:
    """One file on its way."""

    def __init__(self, service, path, part_size, parallel):
        self.service, self.path, self.parallel = service, path, parallel
        self.size, self.part_size = os.path.getsize(path), part_size
        sha = hashlib.sha1()
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                sha.update(block)
        self.sha = sha.hexdigest()
        stem, suffix = os.path.splitext(os.path.basename(path))
        self.name, self.type = stem[:40], suffix.lstrip(".") or "mp4"

    def run(self):
        """Uploads the file, or what the server lacks of it, and gives back its id."""
        lost = None
        for _ in range(1 + REOPENINGS):
            opened = self.open()
            if int(opened["code"]) == 2:
                return opened["fileId"]
            try:
                sent = self.send_parts(opened)
                if lost and not sent:
                    break  # Nothing was lacking, so that another finish would be refused like the last one.
                return self.finish()
            except SessionGone as error:
                lost = error
            except Refused as error:
                # A finish that is refused for good: the server has not got what it acknowledged. It is asked what it has,
                # and sent what it lacks.
                if error.action != "FinishUpload" or error.again:
                    raise
                lost = error
        raise lost

    def open(self):
        """Announces the file. The answer says what is there."""
        return self.service.patiently(
            "InitUpload",
            {
                "fileName": self.name,
                "fileSha": self.sha,
                "fileSize": self.size,
                "fileType": self.type,
                "dataSize": self.part_size,
            },
        )

    def send_parts(self, opened):
        """Sends the parts that are not there yet, several at a time. Says how many those were."""
        # It is the server that says how a file is cut: parts of another size fit none of those that it has.
        grid = int(opened.get("dataSize") or self.part_size) if int(opened["code"]) == 1 else self.part_size
        there = {int(part["offset"]): part for part in opened.get("listParts") or []}
        gone = threading.Event()

        def send(offset):
            if gone.is_set():
                return False
            with open(self.path, "rb") as file:
                file.seek(offset)
                body = file.read(grid)
            md5 = hashlib.md5(body).hexdigest()
            listed = there.get(offset, {})
            # Only a part of the same bytes need not be sent; one that says nothing of its bytes is not believed.
            length = int(listed.get("dataLen") or listed.get("dataSize") or 0)
            if length == len(body) and listed.get("dataMd5") == md5:
                return False
            part = {"fileSha": self.sha, "offset": offset, "dataSize": len(body), "dataMd5": md5}
            try:
                self.service.patiently("UploadPart", part, body)
            except SessionGone:
                gone.set()
                raise
            return True

        with concurrent.futures.ThreadPoolExecutor(self.parallel) as pool:
            parts = [pool.submit(send, offset) for offset in range(0, self.size, grid)]
        # All of them are over. One that failed stops none of the others: the next upload finds them and sends it alone.
        # But no file is finished that lacks a part.
        failures = [part.exception() for part in parts if part.exception()]
        failures.sort(key=lambda failure: not isinstance(failure, SessionGone))
        if failures:
            raise failures[0]
        return sum(part.result() for part in parts)

    def finish(self):
        """Has the parts put together."""
        for attempt in range(1, self.service.attempts + 1):
            try:
                return self.service.once("FinishUpload", {"fileSha": self.sha})["fileId"]
            except Refused as error:
                self.service.wait(attempt, error)
            except NoAnswer as error:
                # Nobody knows whether it was done, and only asking tells: it is there, its parts still are, or neither.
                try:
                    self.service.wait(attempt, error)
                    opened = self.open()
                except Failed as also:
                    raise Unclear(f"{error}; then {also}") from also
                if int(opened["code"]) == 2:
                    return opened["fileId"]
                if int(opened["code"]) == 0:
                    raise Unclear(f"{error}; and the server knows neither the file nor the upload") from error


def main():
    options = argparse.ArgumentParser(description="Uploads a file.")
    options.add_argument("file")
    options.add_argument("endpoint", help="such as https://vod2.qcloud.com")
    options.add_argument("--part-size", type=int, default=1 << 20, help="in bytes, 524288 to 1048576")
    options.add_argument("--parallel", type=int, default=4, help="how many parts are under way at a time")
    options.add_argument("--attempts", type=int, default=6, help="how often one request is sent at most")
    options.add_argument("--stall-timeout", type=float, default=30.0, help="seconds in which nothing moves")
    args = options.parse_args()
    key = os.environ["VOD_SECRET_ID"], os.environ["VOD_SECRET_KEY"]
    service = Service(args.endpoint, *key, args.attempts, args.stall_timeout)
    try:
        print("stored as", Upload(service, args.file, args.part_size, args.parallel).run())
    except Failed as error:
        print("failed:", error, file=sys.stderr)
        return 8 if isinstance(error, Unclear) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
