#!/usr/bin/env python3
"""What NOT to do: a part that fails is written to the log and never sent again, and success is reported all the same.

It is what is left of upload.py when everything goes well: without trouble nobody notices.

    vod-scenario run retry-cache-errors --client 'python3 examples/clients/upload-forgetful.py {file} {endpoint}'
"""

import base64
import hashlib
import hmac
import json
import os
import random
import sys
import time
import urllib.parse
import urllib.request

PART_SIZE = 1 << 20


def call(action, params, body=None):
    method = "GET" if body is None else "POST"
    params = {"Action": action} | params | {
        "Region": "gz",
        "Timestamp": int(time.time()),
        "Nonce": random.randint(1, 2**31),
        "SecretId": os.environ["VOD_SECRET_ID"],
    }
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    text = f"{method}vod2.qcloud.com/v2/index.php?{text}"
    digest = hmac.new(os.environ["VOD_SECRET_KEY"].encode(), text.encode(), hashlib.sha1).digest()
    params["Signature"] = base64.b64encode(digest).decode()
    url = f"{sys.argv[2]}/v2/index.php?{urllib.parse.urlencode(params)}"
    headers = {"Content-Type": "application/octet-stream"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=30) as answer:
        return json.load(answer)


with open(sys.argv[1], "rb") as file:
    data = file.read()
sha = hashlib.sha1(data).hexdigest()
about = {"fileName": "video", "fileType": "mp4", "fileSha": sha, "fileSize": len(data), "dataSize": PART_SIZE}
call("InitUpload", about)

for offset in range(0, len(data), PART_SIZE):
    part = data[offset : offset + PART_SIZE]
    try:
        md5 = hashlib.md5(part).hexdigest()
        reply = call("UploadPart", {"fileSha": sha, "offset": offset, "dataSize": len(part), "dataMd5": md5}, part)
        if reply["code"] != 0:
            print(f"part at {offset}: {reply['message']}", file=sys.stderr)  # … and that is all that becomes of it.
    except OSError as error:
        print(f"part at {offset}: {error}", file=sys.stderr)

call("FinishUpload", {"fileSha": sha})
print("done")
