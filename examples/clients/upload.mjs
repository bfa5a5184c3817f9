// Uploads a file through InitUpload, UploadPart and FinishUpload, with Node.js alone.
//
//     VOD_SECRET_ID=… VOD_SECRET_KEY=… node upload.mjs video.mp4 https://vod2.qcloud.com
//
// It ends with 0 when the file is there, with 8 when it failed and the file may be there all the same, else with 1.
// Run it again and it goes on where it stopped: what is there is the server's to say, so that nothing is kept here.

import { createHash, createHmac, randomInt } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const PATH = "/v2/index.php";
const HOST = "vod2.qcloud.com"; // The host that is signed, whatever address is connected to.

const RETRIES = 50; // How many retries a whole upload spends: a server in trouble must not meet every retry of every part.
const REOPENINGS = 2; // How often the upload begins anew because the server lost something of it.
const SLOWEST = 256 * 1024; // The slowest link that is waited for, in bytes a second.
const PASSING = [4400, 6000, 6200]; // Over quota, internal error, maintenance: these pass, whatever canRetry says.
const NO_SESSION = -10005;

/** The upload has failed. */
class Failed extends Error {}

/** The server said no, in the words of the protocol. */
class Refused extends Failed {
  constructor(action, reply) {
    super(`${action}: the server answered ${reply.code}: ${reply.message}`);
    this.action = action;
    this.code = Number(reply.code);
    // A negative code may be tried again where canRetry is 1; of the positive ones, those that pass.
    this.again = this.code < 0 ? Number(reply.canRetry) === 1 : PASSING.includes(this.code);
  }
}

/** Nobody knows what became of the request: it was cut off, or its answer is none of this protocol. */
class NoAnswer extends Failed {
  again = true;

  constructor(why, retryAfter = 0) {
    super(why);
    this.retryAfter = retryAfter;
  }
}

/** The file may be there, and nobody can tell. */
class Unclear extends Failed {}

/** The server has forgotten the upload. */
class SessionGone extends Failed {}

/** The server, one request at a time or several. */
class Service {
  retries = RETRIES;

  constructor({ endpoint, secretId, secretKey, attempts, silence }) {
    Object.assign(this, { url: new URL(endpoint), secretId, secretKey, attempts, silence });
    // Connections are kept from one request to the next.
    this.transport = this.url.protocol === "https:" ? https : http;
    this.agent = new this.transport.Agent({ keepAlive: true });
  }

  /** Adds the common parameters and the signature. Each attempt is signed anew, for a signature grows old. */
  sign(method, params) {
    const all = {
      ...params,
      Region: "gz",
      Timestamp: Math.floor(Date.now() / 1000),
      Nonce: randomInt(1, 2 ** 31),
      SecretId: this.secretId,
      SignatureMethod: "HmacSHA256",
    };
    // Names in the order of their bytes, values before they are encoded for the URL.
    const pairs = Object.keys(all).sort().map((name) => `${name}=${all[name]}`);
    const text = `${method}${HOST}${PATH}?${pairs.join("&")}`;
    return { ...all, Signature: createHmac("sha256", this.secretKey).update(text).digest("base64") };
  }

  /** Sends one request: parameters in the query, a part's bytes as the body and nothing else. */
  async once(action, params, body) {
    const method = body ? "POST" : "GET";
    const query = new URLSearchParams(this.sign(method, { Action: action, ...params }));
    const { status, headers, text } = await this.exchange(method, `${PATH}?${query}`, body).catch((error) => {
      throw new NoAnswer(`${action}: ${error.message}`);
    });
    if (status !== 200) {
      // A gateway, perhaps. It may say when to come back.
      throw new NoAnswer(`${action}: HTTP ${status}`, Number(headers["retry-after"]) || 0);
    }
    let reply;
    try {
      reply = JSON.parse(text);
    } catch {
      reply = {};
    }
    const code = Number(reply?.code ?? NaN);
    if (Number.isNaN(code)) throw new NoAnswer(`${action}: ${JSON.stringify(text.slice(0, 80))} is no answer of this protocol`);
    // InitUpload has two answers more: 1, some parts are there, and 2, the whole file is.
    if (!(action === "InitUpload" ? [0, 1, 2] : [0]).includes(code)) throw new Refused(action, reply);
    return { ...reply, code };
  }

  /** One request over HTTP. The limit is on silence, not on the whole: a slow link is no dead one. */
  exchange(method, target, body) {
    return new Promise((resolve, reject) => {
      const headers = body ? { "Content-Length": body.length, "Content-Type": "application/octet-stream" } : {};
      const options = { method, path: target, headers, agent: this.agent, timeout: this.silence * 1000 };
      const request = this.transport.request(this.url, options, (answer) => {
        const pieces = [];
        answer.on("data", (piece) => pieces.push(piece));
        answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text: Buffer.concat(pieces).toString() }));
        answer.on("error", reject);
      });
      request.on("timeout", () => request.destroy(new Error(`nothing moved for ${this.silence} s`)));
      request.on("error", reject);
      // All of it may still lie in the buffers of the system, and is sent before there can be an answer.
      const patience = this.silence + (body?.length ?? 0) / SLOWEST;
      request.on("finish", () => request.setTimeout(patience * 1000));
      request.end(body);
    });
  }

  /** Waits before the next attempt, longer each time and never as long as everybody else; or gives up. */
  async wait(attempt, error) {
    if (!error.again || attempt >= this.attempts || this.retries-- <= 0) throw error;
    const longest = Math.min(5000, 100 * 2 ** (attempt - 1));
    await sleep(Math.max(randomInt(50, longest), (error.retryAfter ?? 0) * 1000));
  }

  /** Sends a request that may be repeated without harm until it is answered for good. */
  async patiently(action, params, body) {
    let lost = 0;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(action, params, body);
      } catch (error) {
        // The same code says that the session could not be read, which passes, and that there is none.
        lost = error.code === NO_SESSION ? lost + 1 : 0;
        if (lost === 2) throw new SessionGone(error.message);
        await this.wait(attempt, error);
      }
    }
  }
}

/** Uploads a file, or what the server lacks of it, and gives back its id. */
async function upload(service, file, { partSize, parallel }) {
  const handle = await open(file);
  try {
    const { name, ext } = path.parse(file);
    const sha = createHash("sha1");
    await pipeline(createReadStream(file), sha);
    const about = {
      fileName: name.slice(0, 40),
      fileSha: sha.digest("hex"),
      fileSize: (await handle.stat()).size,
      fileType: ext.slice(1) || "mp4",
      dataSize: partSize,
    };
    // Announces the file. The answer says what is there.
    const init = () => service.patiently("InitUpload", about);
    let lost;
    for (let opening = 0; opening <= REOPENINGS; opening++) {
      const opened = await init();
      if (opened.code === 2) return opened.fileId;
      try {
        const sent = await sendParts(service, handle, about, opened, parallel);
        if (lost && sent === 0) break; // Nothing was lacking, so that another finish would be refused like the last one.
        return await finish(service, about.fileSha, init);
      } catch (error) {
        // A finish that is refused for good: the server has not got what it acknowledged. It is asked what it has, and
        // sent what it lacks.
        const lacking = error instanceof Refused && error.action === "FinishUpload" && !error.again;
        if (!(error instanceof SessionGone) && !lacking) throw error;
        lost = error;
      }
    }
    throw lost;
  } finally {
    await handle.close();
  }
}

/** Sends the parts that are not there yet, several at a time. Says how many those were. */
async function sendParts(service, handle, { fileSha, fileSize, dataSize }, opened, parallel) {
  // It is the server that says how a file is cut: parts of another size fit none of those that it has.
  const grid = opened.code === 1 ? Number(opened.dataSize) : dataSize;
  const there = new Map((opened.listParts ?? []).map((part) => [Number(part.offset), part]));
  const failures = [];
  let next = 0;
  let sent = 0;

  const worker = async () => {
    while (next < fileSize && !failures.some((failure) => failure instanceof SessionGone)) {
      const offset = next;
      next += grid;
      const body = Buffer.alloc(Math.min(grid, fileSize - offset));
      await handle.read(body, 0, body.length, offset);
      const dataMd5 = createHash("md5").update(body).digest("hex");
      // Only a part of the same bytes need not be sent; one that says nothing of its bytes is not believed.
      const listed = there.get(offset);
      if (Number(listed?.dataLen ?? listed?.dataSize) === body.length && listed.dataMd5 === dataMd5) continue;
      try {
        await service.patiently("UploadPart", { fileSha, offset, dataSize: body.length, dataMd5 }, body);
        sent++;
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  // One that failed stops none of the others: the next upload finds them and sends it alone. But no file is finished that
  // lacks a part.
  if (failures.length) throw failures.find((failure) => failure instanceof SessionGone) ?? failures[0];
  return sent;
}

/** Has the parts put together. */
async function finish(service, fileSha, init) {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await service.once("FinishUpload", { fileSha })).fileId;
    } catch (error) {
      if (error instanceof Refused) {
        await service.wait(attempt, error);
        continue;
      }
      // Nobody knows whether it was done, and only asking tells: it is there, its parts still are, or neither.
      let opened;
      try {
        await service.wait(attempt, error);
        opened = await init();
      } catch (also) {
        throw new Unclear(`${error.message}; then ${also.message}`);
      }
      if (opened.code === 2) return opened.fileId;
      if (opened.code === 0) throw new Unclear(`${error.message}; and the server knows neither the file nor the upload`);
    }
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    "part-size": { type: "string", default: "1048576" }, // in bytes, 524288 to 1048576
    parallel: { type: "string", default: "4" }, // how many parts are under way at a time
    attempts: { type: "string", default: "6" }, // how often one request is sent at most
    "stall-timeout": { type: "string", default: "30" }, // seconds in which nothing moves
  },
});
const [file, endpoint] = positionals;
const service = new Service({
  endpoint,
  secretId: process.env.VOD_SECRET_ID,
  secretKey: process.env.VOD_SECRET_KEY,
  attempts: Number(values.attempts),
  silence: Number(values["stall-timeout"]),
});
try {
  const partSize = Number(values["part-size"]);
  console.log("stored as", await upload(service, file, { partSize, parallel: Number(values.parallel) }));
} catch (error) {
  if (!(error instanceof Failed)) throw error;
  console.error("failed:", error.message);
  process.exitCode = error instanceof Unclear ? 8 : 1;
} finally {
  service.agent.destroy();
}
