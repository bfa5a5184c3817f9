//! Where callbacks can be seen, and which of them are refused before anybody is called.

use std::sync::Arc;

use serde_json::json;
use vod_mock::{Accounts, Config, MemoryStore, Mock, callbacks::Caller};

use crate::wire::{config, get, mock, send};

#[tokio::test]
async fn callbacks_are_seen_under_the_admin_path_and_wrong_filters_are_named() {
    let mock = mock(config()).await;
    assert_eq!(get(&mock, "/__vod/callbacks?account=demo&file-id=7").await, json!([]));
    let answer = String::from_utf8(send(&mock, "GET", "/__vod/callbacks", b"").await.unwrap()).unwrap();
    assert!(answer.contains("x-vod-dropped: 0\r\n"), "{answer}");
    let answer = String::from_utf8(send(&mock, "GET", "/__vod/callbacks?fileid=7", b"").await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("file-id"), "{answer}");
}

fn called_at(url: &str) -> Config {
    let account = "[[account]]\nname = \"a\"\napp-id = 1\nsecret-id = \"i\"\nsecret-key = \"k\"\n";
    let accounts: Accounts = toml::from_str(&format!("{account}callback-url = {url:?}")).unwrap();
    Config { accounts, ..config() }
}

struct Deaf;

#[async_trait::async_trait]
impl Caller for Deaf {
    async fn post(&self, _: &str, _: String) -> Result<u16, String> {
        Err("nobody is called here".to_owned())
    }
}

#[tokio::test]
async fn a_callback_url_that_cannot_be_called_is_refused_when_the_mock_is_opened() {
    let refused = async |config| match Mock::open(config, MemoryStore::new()).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    for (url, why) in [
        ("www.example.com", "expected a URL that begins with http://"),
        ("http://", "expected a host"),
        ("https://h/", "https:// is not built yet"),
    ] {
        let said = refused(called_at(url)).await;
        assert!(said.contains("callback-url of the account \"a\"") && said.contains(why), "{said}");
    }
    assert!(Mock::open(called_at("http://h/"), MemoryStore::new()).await.is_ok());
    // Another caller may well know https.
    let caller = || Some(Arc::new(Deaf) as Arc<dyn Caller>);
    let https = Config { caller: caller(), ..called_at("https://h/") };
    assert!(Mock::open(https, MemoryStore::new()).await.is_ok());
    let said = refused(Config { caller: caller(), ..called_at("http://h:x/") }).await;
    assert!(said.contains("expected a port"), "{said}");
}
