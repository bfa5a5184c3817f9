//! A client of the protocol with an account that it made itself, over the admin API.

use serde_json::{Value, json};
use vod_mock::VodMock;
use vod_proto::{Md5, Sha1};

use super::api::Api;
use crate::wire::{get, post, target_of};

/// A client with an account of its own.
pub(crate) struct Uploader<'a> {
    mock: &'a VodMock,
    pub(crate) account: String,
    pub(crate) secret_id: String,
    pub(crate) secret_key: String,
}

impl<'a> Uploader<'a> {
    /// Makes an account, of which `more` is said beside its name.
    pub(crate) async fn new(mock: &'a VodMock, api: &Api, account: &str, more: Value) -> Self {
        let mut body = json!({ "name": account });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = api.post("/__vod/accounts", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let made = answer.json();
        let told = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { mock, account: told("name"), secret_id: told("secret-id"), secret_key: told("secret-key") }
    }

    fn target(&self, method: &str, params: &[(&str, &str)]) -> String {
        target_of((&self.secret_id, &self.secret_key), "/v2/index.php", method, params)
    }

    /// What opens an upload.
    pub(crate) fn init_target(&self, file: &[u8]) -> String {
        let (sha, size) = (Sha1::of(file).to_string(), file.len().to_string());
        let file = [("fileName", "test"), ("fileSha", &sha), ("fileSize", &size), ("fileType", "mp4")];
        let params = [&[("Action", "InitUpload"), ("dataSize", "524288")][..], &file].concat();
        self.target("GET", &params)
    }

    pub(crate) async fn init(&self, file: &[u8]) -> Value {
        get(self.mock, &self.init_target(file)).await
    }

    /// What sends the file as its one part.
    pub(crate) fn part_target(&self, file: &[u8]) -> String {
        let (sha, size, md5) = (Sha1::of(file).to_string(), file.len().to_string(), Md5::of(file).to_string());
        let part = [("fileSha", &*sha), ("offset", "0"), ("dataSize", &size), ("dataMd5", &md5)];
        let params = [&[("Action", "UploadPart")][..], &part].concat();
        self.target("POST", &params)
    }

    /// Sends the file as its one part.
    pub(crate) async fn part(&self, file: &[u8]) -> Value {
        post(self.mock, (self.part_target(file), file)).await
    }

    pub(crate) async fn finish(&self, file: &[u8]) -> Value {
        let sha = Sha1::of(file).to_string();
        get(self.mock, &self.target("GET", &[("Action", "FinishUpload"), ("fileSha", &sha)])).await
    }

    /// Sends a request of this action that says nothing.
    pub(crate) async fn ask(&self, action: &str) -> Value {
        get(self.mock, &self.target("GET", &[("Action", action)])).await
    }

    /// Uploads a file of one part.
    pub(crate) async fn upload(&self, file: &[u8]) {
        for reply in [self.init(file).await, self.part(file).await, self.finish(file).await] {
            assert_eq!(reply["code"], 0, "{}: {reply}", self.account);
        }
    }

    /// A path of the admin API, for this account.
    pub(crate) fn own(&self, path: &str) -> String {
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("/__vod/{path}{mark}account={}", self.account)
    }
}
