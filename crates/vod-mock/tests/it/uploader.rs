// An uploader of a few lines, for the tests of this folder and for the examples in the crate's docs, which include this
// file. It sends part after part over a connection each, and tries every request three times.

/// Uploads a file under an account's key pair, and gives back its file id, or why the last request failed.
pub(crate) async fn upload(endpoint: &str, secret_id: &str, secret_key: &str, file: &[u8]) -> Result<String, String> {
    use vod_proto::{Md5, Sha1};

    const PART: usize = 524_288;
    let sha = Sha1::of(file).to_string();
    let account = (endpoint, secret_id, secret_key);
    let size = file.len().to_string();
    let about = [("fileName", "holiday"), ("fileType", "mp4"), ("fileSize", &*size), ("dataSize", "524288")];
    let id = |reply: &serde_json::Value| reply["fileId"].as_str().unwrap_or_default().to_owned();
    let begun =
        call(account, "GET", &[&[("Action", "InitUpload"), ("fileSha", &sha)], &about[..]].concat(), b"").await?;
    if begun["code"] == 2 {
        return Ok(id(&begun));
    }
    for (index, part) in file.chunks(PART).enumerate() {
        let (offset, len, md5) = ((index * PART).to_string(), part.len().to_string(), Md5::of(part).to_string());
        let what = [("Action", "UploadPart"), ("fileSha", &*sha), ("offset", &*offset)];
        call(account, "POST", &[&what[..], &[("dataSize", &*len), ("dataMd5", &*md5)]].concat(), part).await?;
    }
    let stored = call(account, "GET", &[("Action", "FinishUpload"), ("fileSha", &sha)], b"").await?;
    Ok(id(&stored))
}

/// Sends a request up to three times, until it is answered with a code that is not negative.
pub(crate) async fn call(
    (endpoint, secret_id, secret_key): (&str, &str, &str),
    method: &str,
    params: &[(&str, &str)],
    body: &[u8],
) -> Result<serde_json::Value, String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use vod_proto::sign::{SecretKey, SignatureMethod, sign_query};

    let mut failure = String::new();
    for nonce in ["1", "2", "3"] {
        let now = vod_serve::WallClock::system().now().as_second().to_string();
        let mut query = vod_proto::Query::default();
        let common = [("Region", "gz"), ("Timestamp", &*now), ("Nonce", nonce), ("SecretId", secret_id)];
        params.iter().chain(&common).for_each(|(name, value)| query.push(name, value));
        let (key, path) = (SecretKey::new(secret_key), "/v2/index.php");
        sign_query(&key, SignatureMethod::HmacSha1, method, "vod2.qcloud.com", path, &mut query);
        let head = format!(
            "{method} {path}?{query} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = async {
            let mut stream = tokio::net::TcpStream::connect(endpoint.trim_start_matches("http://")).await?;
            stream.write_all(&[head.as_bytes(), body].concat()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.map(|_| answer)
        };
        failure = match answer.await {
            Err(error) => error.to_string(),
            Ok(answer) => match serde_json::from_str(answer.rsplit("\r\n\r\n").next().unwrap_or_default()) {
                Ok(reply @ serde_json::Value::Object(_)) if reply["code"].as_i64() >= Some(0) => return Ok(reply),
                _ => answer,
            },
        };
    }
    Err(failure)
}
