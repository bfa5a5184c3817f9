// Uploads a file through InitUploadEx, UploadPartEx and FinishUploadEx.

import { md5 } from "./md5.js";

/** The largest file, in bytes: WebCrypto takes the SHA-1 only of what is in memory whole. */
export const LARGEST = 512 * 1024 * 1024;

/** The size of a part that is asked for, in bytes; an upload that is resumed keeps its own. */
const PART_SIZE = 524288;

/** How often a request is sent before the upload stops. What is stored by then stays stored. */
const ATTEMPTS = 4;

/** The positive codes after which the same request may be sent again: over quota, internal error, maintenance. */
const PASSING = [4400, 6000, 6200];

/** The server said no. */
class Refused extends Error {
  constructor(action, reply) {
    super(`${action}: the server answered ${reply.code}: ${reply.message}`);
    this.final = reply.code < 0 ? Number(reply.canRetry) !== 1 : !PASSING.includes(reply.code);
  }
}

/**
 * Uploads a file, or what the server lacks of it, and gives back `{ fileId, url, verify_content }`.
 * `sign` is asked for an upload signature over the fields `f`, `fs` and `ft`.
 */
export async function upload({ file, endpoint, sign, progress, say }) {
  if (file.size === 0) throw new Error("the file is empty");
  if (file.size > LARGEST) throw new Error(`the file has ${file.size} bytes, more than this page can hash: ${LARGEST}`);
  say("hashing");
  const fileSha = hex(await crypto.subtle.digest("SHA-1", await file.arrayBuffer()));
  const signature = await sign({ ...nameOf(file), fs: fileSha });
  const call = (action, params, body) => once(endpoint, action, { fileSha, ...params, signature }, body);

  const init = () => patiently(() => call("InitUploadEx", { fileSize: file.size, dataSize: PART_SIZE }));
  const opened = await init();
  if (opened.code === 2) {
    say("the server has the whole file already");
    progress(file.size);
    return opened;
  }
  const partSize = opened.code === 1 ? Number(opened.dataSize) : PART_SIZE;
  const listed = new Map((opened.listParts ?? []).map((part) => [Number(part.offset), part]));
  if (listed.size) say(`going on: the server has ${listed.size} parts`);

  for (let offset = 0; offset < file.size; offset += partSize) {
    const bytes = new Uint8Array(await file.slice(offset, offset + partSize).arrayBuffer());
    const dataMd5 = md5(bytes);
    if (!sameBytes(listed.get(offset), bytes.length, dataMd5)) {
      await patiently(() => call("UploadPartEx", { offset, dataSize: bytes.length, dataMd5 }, bytes));
    }
    progress(offset + bytes.length);
  }
  say("finishing");
  return finish(() => call("FinishUploadEx", {}), init);
}

/** Is this listed part made of the bytes that are here? Only then may it be left out. */
function sameBytes(listed, length, dataMd5) {
  return listed !== undefined && Number(listed.dataLen ?? listed.dataSize) === length && listed.dataMd5 === dataMd5;
}

/** Puts the parts together. Nobody knows what a finish without an answer came to, so InitUploadEx is asked first. */
async function finish(ask, init) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (error.final || attempt === ATTEMPTS) throw error;
      await pause(attempt);
      const there = await init();
      if (there.code === 2) return there;
    }
  }
}

/** Sends a request that may be repeated without harm until it is answered for good. */
async function patiently(ask) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (error.final || attempt === ATTEMPTS) throw error;
      await pause(attempt);
    }
  }
}

/** Waits longer from attempt to attempt, and not as long as everybody else. */
function pause(attempt) {
  const longest = 100 * 2 ** attempt;
  return new Promise((wake) => setTimeout(wake, 50 + Math.random() * longest));
}

/** Sends one request: parameters in the query, a part's bytes as the body and nothing else. */
async function once(endpoint, action, params, body) {
  const query = new URLSearchParams({ Action: action, ...params });
  const post = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body };
  const answer = await fetch(`${endpoint}/v2/index.php?${query}`, { cache: "no-store", ...(body && post) });
  if (answer.status !== 200) throw new Error(`${action}: HTTP ${answer.status}`);
  const reply = await answer.json();
  const good = action === "InitUploadEx" ? [0, 1, 2] : [0];
  if (!good.includes(reply.code)) throw new Refused(action, reply);
  return reply;
}

/** The name and type of a file as the signature says them: without a dot, and at most 40 characters. */
function nameOf(file) {
  const dot = file.name.lastIndexOf(".");
  const [stem, suffix] = dot > 0 ? [file.name.slice(0, dot), file.name.slice(dot + 1)] : [file.name, ""];
  const f = [...stem.replace(/[\\/:*?"<>|]/g, "_")].slice(0, 40).join("");
  return { f, ft: suffix.replace(/[^0-9A-Za-z]/g, "") || "mp4" };
}

/** What is told of a stored file. */
export function describe({ fileId, url, verify_content }) {
  return [fileId, url, verify_content && `verify_content ${verify_content}`].filter(Boolean).join("\n");
}

/** What has the form of an upload signature and holds under no key: for a mock with `--auth any`. */
export function unsigned(fields) {
  const now = Math.floor(Date.now() / 1000);
  const random = crypto.getRandomValues(new Uint32Array(1))[0];
  const all = { s: "nobody", ...fields, t: now, e: now + 86400, r: random, uid: 0 };
  const text = new TextEncoder().encode(new URLSearchParams(all).toString());
  return btoa(String.fromCharCode(...new Uint8Array(20), ...text));
}

function hex(buffer) {
  return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
