//! Whose requests are answered. An account is named by the SecretId of a request's signature.

use serde::Deserialize;
use vod_proto::{Limits, limits::LimitsError, sign::SecretKey};

/// The SecretId of the demo account: the public example of the documents.
pub const DEMO_SECRET_ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";

/// The SecretKey of the demo account: the public example of the documents.
pub const DEMO_SECRET_KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";

/// The verify key of the demo account: the public example of the documents.
pub const DEMO_VERIFY_KEY: &str = "6367c48dd193d56ea7b0baad25b19455e529f5ee";

/// The app id of the demo account: the public example of the documents.
const DEMO_APP_ID: u64 = 10013;

pub(crate) const fn demo_app_id() -> u64 {
    DEMO_APP_ID
}

/// An account: a name of its own for journals, and a key pair.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Account {
    /// Its name in journals, reports and fault selectors.
    pub name: String,
    /// Stands in the URLs of its files. Default 10013, the demo account's: nothing is told apart by it.
    #[serde(default = "demo_app_id")]
    pub app_id: u64,
    /// The public half of its key pair.
    pub secret_id: String,
    /// The secret half.
    pub secret_key: SecretKey,
    /// Signs the proof that a finished upload of the UGC family comes back with. Default: none, and no proof.
    #[serde(default)]
    pub verify_key: Option<SecretKey>,
    /// Where its events go. Default: none, and nobody is called.
    #[serde(default)]
    pub callback_url: Option<String>,
    /// The numbers that bound its uploads; what is not given is as documented. Default: those of the server.
    #[serde(default)]
    pub limits: Option<Limits>,
}

/// Longest name of an account, in letters. Default 64: it stands in every line of a journal.
const NAME_MAX: usize = 64;

/// The accounts of a server.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accounts {
    #[serde(rename = "account")]
    accounts: Vec<Account>,
}

impl Default for Accounts {
    /// The demo account alone.
    fn default() -> Self {
        let demo = Account {
            name: "demo".to_owned(),
            app_id: DEMO_APP_ID,
            secret_id: DEMO_SECRET_ID.to_owned(),
            secret_key: SecretKey::new(DEMO_SECRET_KEY),
            verify_key: Some(SecretKey::new(DEMO_VERIFY_KEY)),
            callback_url: None,
            limits: None,
        };
        Self { accounts: vec![demo] }
    }
}

/// Accounts that cannot be told apart or called back, or none at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// There is none.
    #[error("there is no account: expected at least one [[account]]")]
    Empty,
    /// Two have the same name.
    #[error("two accounts are named {0:?}")]
    Name(String),
    /// Two have the same SecretId.
    #[error("the accounts {0:?} and {1:?} have the same secret-id")]
    SecretId(String, String),
    /// One's name is none.
    #[error("an account is named {0:?}: expected up to {NAME_MAX} letters, digits, dots, underscores and dashes")]
    BadName(String),
    /// One has no key pair.
    #[error("the account {0:?} has an empty secret-id or secret-key")]
    NoKey(String),
    /// One's limits exclude each other.
    #[error("the limits of the account {0:?} cannot hold: {1}")]
    Limits(String, LimitsError),
    /// One's callback URL cannot be called.
    #[error("the callback-url of the account {0:?} cannot be called: {1}")]
    CallbackUrl(String, String),
}

impl Account {
    /// Checks what can be seen of an account alone.
    ///
    /// # Errors
    /// Says what is wrong with its name, its keys or its limits.
    pub fn check(&self) -> Result<(), AccountsError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || self.name.len() > NAME_MAX || !self.name.chars().all(fits) {
            return Err(AccountsError::BadName(self.name.clone()));
        }
        if self.secret_id.is_empty() || self.secret_key == SecretKey::new("") {
            return Err(AccountsError::NoKey(self.name.clone()));
        }
        let limits = self.limits.as_ref().map_or(Ok(()), Limits::check);
        limits.map_err(|why| AccountsError::Limits(self.name.clone(), why))
    }

    /// Checks that its callback URL can be called, as far as `takes` can tell.
    ///
    /// # Errors
    /// Names the account. The URL is not repeated: it may hold a password.
    pub fn check_callback_url(&self, takes: impl Fn(&str) -> Result<(), String>) -> Result<(), AccountsError> {
        let checked = self.callback_url.as_deref().map_or(Ok(()), takes);
        checked.map_err(|why| AccountsError::CallbackUrl(self.name.clone(), why))
    }
}

impl Accounts {
    /// Checks that there is one.
    ///
    /// # Errors
    /// If there is none: nothing could ever be answered.
    pub const fn check(&self) -> Result<(), AccountsError> {
        if self.accounts.is_empty() { Err(AccountsError::Empty) } else { Ok(()) }
    }

    /// Is there one of this name?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.accounts.iter().any(|account| account.name == name)
    }

    /// How many bytes of a body are read at most, whoever sends it. Whoever has no limits has the server's.
    pub(crate) fn longest_body(&self, server: &Limits) -> u64 {
        let own = self.accounts.iter().filter_map(|account| account.limits.as_ref());
        own.map(|limits| limits.body_ceiling).fold(server.body_ceiling, u64::max)
    }
}

impl IntoIterator for Accounts {
    type Item = Account;
    type IntoIter = std::vec::IntoIter<Account>;

    fn into_iter(self) -> Self::IntoIter {
        self.accounts.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_name_that_can_be_written_anywhere_and_a_key_pair() {
        let check = |name: &str, id: &str, key: &str, more: &str| {
            let text = format!("name = {name:?}\nsecret-id = {id:?}\nsecret-key = {key:?}\n{more}");
            let checked = toml::from_str::<Account>(&text).unwrap().check();
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check("team-7.ci_a", "i", "k", ""), Ok(()));
        for name in ["", "a b", "a/b", "ü", "a\n", &"n".repeat(65)] {
            assert!(check(name, "i", "k", "").unwrap_err().contains("expected up to 64 letters"), "{name:?}");
        }
        assert!(check("a", "", "k", "").is_err() && check("a", "i", "", "").is_err());
        assert_eq!(check("a", "i", "k", "[limits]\npart-size-min = 1"), Ok(()));
        let crossed = check("a", "i", "k", "[limits]\npart-size-min = 2000000").unwrap_err();
        assert!(crossed.contains("limits of the account \"a\"") && crossed.contains("part-size-min"), "{crossed}");
    }

    #[test]
    fn an_account_may_have_a_verify_key_and_a_callback_url_that_can_be_called() {
        let text = "[[account]]\nname = \"a\"\nsecret-id = \"i\"\nsecret-key = \"k\"\n";
        let with = |more: &str| {
            let accounts = toml::from_str::<Accounts>(&format!("{text}{more}")).unwrap();
            accounts.into_iter().next().unwrap()
        };
        let takes = crate::callbacks::check_url;
        let plain = with("");
        assert_eq!((plain.app_id, with("app-id = 7").app_id), (10013, 7));
        assert!(plain.verify_key.is_none() && plain.callback_url.is_none());
        assert_eq!(plain.check_callback_url(takes), Ok(()));
        let called = with("verify-key = \"v\"\ncallback-url = \"http://h/\"");
        assert!(called.verify_key == Some(SecretKey::new("v")));
        assert_eq!(called.check_callback_url(takes), Ok(()));
        let error = with("callback-url = \"http://me:sEcReT@/\"").check_callback_url(takes).unwrap_err().to_string();
        assert!(error.contains("callback-url of the account \"a\"") && error.contains("expected a host"), "{error}");
        assert!(!error.contains("sEcReT"), "{error}");
    }
}
