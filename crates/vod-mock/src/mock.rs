//! The rim of the mock: joins the pure core, a store and the server.

use std::{convert::Infallible, io, sync::Arc};

use vod_proto::{Exchange, Limits, limits::LimitsError, lint::Finding, rules::Profile};
use vod_serve::{
    Answer, Effects, Engine, Head, Host, Journal, Killer, Listener, Plan, ReplyOut, Server, Stakes, Subject, Transport,
    WallClock,
    body::{Body, BodyError},
    clock::fresh_seed,
    fault::{Account as FaultAccount, PlanError},
    host::AsideBody,
};

use crate::{
    accounts::{Accounts, AccountsError},
    admin,
    callbacks::{self, CallbackPolicy, Callbacks, Caller, Delivery, HttpCaller},
    cors,
    mind::{Mind, Staged},
    rates::Rates,
    requests::{Auth, Standards},
    store::Store,
    view::UploadView,
};

/// How a mock behaves.
pub struct Config {
    /// Whose requests are answered. Default: the demo account.
    pub accounts: Accounts,
    /// How strictly clients are held to the documents. Default: `observed`.
    pub profile: Profile,
    /// Whether signatures are checked. Default: they must hold.
    pub auth: Auth,
    /// The numbers that bound an upload.
    pub limits: Limits,
    /// Is a file that is there answered with code 2? Default: yes.
    pub instant_upload: bool,
    /// Hosts that clients may sign for, beside the known ones and the request's own `Host`.
    pub sign_hosts: Vec<String>,
    /// The faults to inject.
    pub plan: Plan,
    /// Decides every `chance` of the plan.
    pub seed: u64,
    /// The time of day.
    pub clock: WallClock,
    /// Where the evidence goes. It may hold exchanges of an earlier life; numbers and faults go on from them.
    pub journal: Arc<Journal>,
    /// Who carries out the plan's kills.
    pub killer: Option<Arc<dyn Killer>>,
    /// How and when an application's own server is called back. Default: an account's events, and no `notifyUrl`.
    pub callbacks: CallbackPolicy,
    /// Who carries callbacks. Default: HTTP.
    pub caller: Option<Arc<dyn Caller>>,
    /// Is `/__vod/` answered? Default: yes. The binary says no where it listens beyond loopback.
    pub admin: bool,
}

impl Default for Config {
    fn default() -> Self {
        let seed = fresh_seed();
        Self {
            accounts: Accounts::default(),
            profile: Profile::default(),
            auth: Auth::default(),
            limits: Limits::default(),
            instant_upload: true,
            sign_hosts: Vec::new(),
            plan: Plan::default(),
            seed,
            clock: WallClock::system(),
            journal: Journal::memory(seed),
            killer: None,
            callbacks: CallbackPolicy::default(),
            caller: None,
            admin: true,
        }
    }
}

/// A mock that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The accounts cannot be told apart, or called back.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The limits exclude each other.
    #[error("the limits cannot hold: {0}")]
    Limits(#[from] LimitsError),
    /// A fault of the plan could never strike.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan kills, and nobody can.
    #[error("the fault plan has a fault that kills, but nobody here can kill")]
    NoKiller,
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] io::Error),
}

/// A mock server without a socket of its own: give it a listener, or single connections.
pub struct Mock {
    mind: Arc<Mind>,
    callbacks: Arc<Callbacks>,
    server: Server<MockHost>,
}

impl Mock {
    /// Opens a mock on a store, and takes up what the store and the journal remember.
    ///
    /// # Errors
    /// If the accounts, the plan or the store cannot be used.
    pub async fn open(config: Config, store: Arc<dyn Store>) -> Result<Arc<Self>, OpenError> {
        config.accounts.check()?;
        let takes = if config.caller.is_some() { callbacks::check_url } else { HttpCaller::takes };
        config.accounts.check_callback_urls(takes)?;
        config.limits.check()?;
        let engine = Arc::new(Engine::new(config.plan, config.seed)?);
        engine.recall(&config.journal.exchanges());
        let body_ceiling = config.limits.body_ceiling;
        let standards = Standards {
            accounts: config.accounts,
            profile: config.profile,
            auth: config.auth,
            limits: config.limits,
            sign_hosts: config.sign_hosts,
            rates: Rates::default(),
        };
        let caller = config.caller.unwrap_or_else(|| Arc::new(HttpCaller::default()));
        let callbacks = Callbacks::new(config.callbacks, caller, config.clock);
        let journal = Arc::clone(&config.journal);
        let mind = Mind::open(
            standards,
            config.instant_upload,
            config.clock,
            store,
            journal,
            Arc::clone(&engine),
            Arc::clone(&callbacks),
        );
        let mind = Arc::new(mind.await?);
        let admin = config.admin.then(|| admin::router(Arc::clone(&mind), Arc::clone(&callbacks)));
        let host = Arc::new(MockHost { mind: Arc::clone(&mind), admin });
        let server = Server::new(host, engine, config.journal, config.clock, config.killer, body_ceiling)
            .map_err(|_| OpenError::NoKiller)?;
        Ok(Arc::new(Self { mind, callbacks, server }))
    }

    /// Takes connections for as long as it is polled; dropping it drops them all.
    pub async fn serve<L: Listener>(&self, listener: L) -> Infallible {
        self.server.run(listener).await
    }

    /// Serves one connection to its end.
    pub async fn connection<T: Transport>(&self, transport: T) {
        self.server.connection(transport).await;
    }

    /// Waits until answers that are handed over are out, a second at most. Call it before [`stop`](Self::stop), while
    /// [`serve`](Self::serve) is still polled, or the evidence says that a client was cut off that has its answer.
    pub async fn settled(&self) {
        self.server.settled().await;
    }

    /// Ends what is under way, as closed by this server, and calls nobody back any more.
    /// Call it before dropping [`serve`](Self::serve), or the evidence says that the clients went away.
    pub fn stop(&self) {
        self.server.stop();
        self.callbacks.stop();
    }

    /// The evidence so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.mind.journal().exchanges()
    }

    /// Every upload, in order of account and digest. The digests of stored files are taken from their bytes.
    pub async fn uploads(&self) -> Vec<UploadView> {
        self.mind.views(true).await
    }

    /// Every callback to an application's own server, and what became of it.
    #[must_use]
    pub fn callbacks(&self) -> Vec<Delivery> {
        self.callbacks.log()
    }

    /// What became of every planned fault.
    #[must_use]
    pub fn fault_account(&self) -> Vec<FaultAccount> {
        self.mind.engine().account()
    }

    /// The rules that clients broke so far, each with the exchanges that prove it.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.mind.findings()
    }

    /// The planned faults that never struck.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        self.mind.engine().unfired()
    }
}

/// The mock as the rim sees it.
struct MockHost {
    mind: Arc<Mind>,
    admin: Option<axum::Router>,
}

impl Host for MockHost {
    type Staged = Staged;

    async fn subject(&self, head: &Head) -> Subject {
        self.mind.subject(head).await
    }

    async fn read(&self, head: &Head, _: &Subject, body: &mut Body) -> Result<Staged, BodyError> {
        self.mind.read(head, body).await
    }

    fn stakes(&self, staged: &Staged) -> Stakes {
        Mind::stakes(staged)
    }

    async fn commit(&self, staged: Staged, effects: Effects) -> Answer {
        self.mind.commit(staged, effects).await
    }

    fn dress(&self, head: &Head, reply: &mut ReplyOut) {
        cors::dress(head, reply);
    }

    fn is_aside(&self, path: &str) -> bool {
        self.admin.is_some() && (path == "/__vod" || path.starts_with("/__vod/"))
    }

    async fn aside(&self, request: http::Request<hyper::body::Incoming>) -> http::Response<AsideBody> {
        admin::answer(self.admin.clone(), request).await
    }
}
