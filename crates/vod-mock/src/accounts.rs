//! Whose requests are answered. An account is named by the SecretId of a request's signature.

use serde::Deserialize;
use vod_proto::sign::SecretKey;

/// The SecretId of the demo account: the public example of the documents.
pub const DEMO_SECRET_ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";

/// The SecretKey of the demo account: the public example of the documents.
pub const DEMO_SECRET_KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";

/// The verify key of the demo account: the public example of the documents.
pub const DEMO_VERIFY_KEY: &str = "6367c48dd193d56ea7b0baad25b19455e529f5ee";

/// An account: a name of its own for journals, and a key pair.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Account {
    /// Its name in journals, reports and fault selectors.
    pub name: String,
    /// Stands in the URLs of its files.
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
}

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
            app_id: 10013,
            secret_id: DEMO_SECRET_ID.to_owned(),
            secret_key: SecretKey::new(DEMO_SECRET_KEY),
            verify_key: Some(SecretKey::new(DEMO_VERIFY_KEY)),
            callback_url: None,
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
    /// One's callback URL cannot be called.
    #[error("the callback-url of the account {0:?} cannot be called: {1}")]
    CallbackUrl(String, String),
}

impl Accounts {
    /// Checks that the accounts can be told apart.
    ///
    /// # Errors
    /// Names the accounts that cannot.
    pub fn check(&self) -> Result<(), AccountsError> {
        for (at, account) in self.accounts.iter().enumerate() {
            for other in &self.accounts[..at] {
                if other.name == account.name {
                    return Err(AccountsError::Name(account.name.clone()));
                }
                if other.secret_id == account.secret_id {
                    return Err(AccountsError::SecretId(other.name.clone(), account.name.clone()));
                }
            }
        }
        if self.accounts.is_empty() { Err(AccountsError::Empty) } else { Ok(()) }
    }

    /// Checks that every callback URL can be called, as far as `takes` can tell.
    ///
    /// # Errors
    /// Names the first account whose URL cannot. The URL is not repeated: it may hold a password.
    pub fn check_callback_urls(&self, takes: impl Fn(&str) -> Result<(), String>) -> Result<(), AccountsError> {
        for account in &self.accounts {
            let checked = account.callback_url.as_deref().map_or(Ok(()), &takes);
            checked.map_err(|why| AccountsError::CallbackUrl(account.name.clone(), why))?;
        }
        Ok(())
    }

    /// The account of a SecretId.
    #[must_use]
    pub fn of_secret_id(&self, secret_id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.secret_id == secret_id)
    }

    /// The account of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// The account that requests without a SecretId belong to where signatures are not asked for.
    #[must_use]
    pub fn first(&self) -> Option<&Account> {
        self.accounts.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_cannot_be_told_apart_are_refused() {
        let account = |name: &str, id: &str| {
            format!("[[account]]\nname = \"{name}\"\napp-id = 1\nsecret-id = \"{id}\"\nsecret-key = \"k\"\n")
        };
        let check = |text: String| toml::from_str::<Accounts>(&text).unwrap().check();
        assert_eq!(check(account("a", "1") + &account("b", "2")), Ok(()));
        assert_eq!(check(account("a", "1") + &account("a", "2")), Err(AccountsError::Name("a".to_owned())));
        assert_eq!(
            check(account("a", "1") + &account("b", "1")),
            Err(AccountsError::SecretId("a".to_owned(), "b".to_owned()))
        );
        assert_eq!(check("account = []".to_owned()), Err(AccountsError::Empty));
    }

    #[test]
    fn an_account_may_have_a_verify_key_and_a_callback_url_that_can_be_called() {
        let text = "[[account]]\nname = \"a\"\napp-id = 1\nsecret-id = \"i\"\nsecret-key = \"k\"\n";
        let with = |more: &str| toml::from_str::<Accounts>(&format!("{text}{more}")).unwrap();
        let takes = crate::callbacks::check_url;
        let plain = with("");
        assert!(plain.accounts[0].verify_key.is_none() && plain.accounts[0].callback_url.is_none());
        assert_eq!(plain.check_callback_urls(takes), Ok(()));
        let called = with("verify-key = \"v\"\ncallback-url = \"http://h/\"");
        assert!(called.accounts[0].verify_key == Some(SecretKey::new("v")));
        assert_eq!(called.check_callback_urls(takes), Ok(()));
        let error = with("callback-url = \"http://me:sEcReT@/\"").check_callback_urls(takes).unwrap_err().to_string();
        assert!(error.contains("callback-url of the account \"a\"") && error.contains("expected a host"), "{error}");
        assert!(!error.contains("sEcReT"), "{error}");
    }
}
