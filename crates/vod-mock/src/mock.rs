//! The rim of the mock: joins the pure core, a store and the server.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use vod_proto::{Exchange, Limits, exchange::End, limits::LimitsError, lint::Findings, rules::Profile};
use vod_serve::{
    Answer, Effects, Engine, Head, Host, Journal, Killer, Listener, Plan, ReplyOut, Server, Stakes, Subject, Transport,
    WallClock,
    body::{Body, BodyError},
    clock::fresh_seed,
    fault::{Fate, PlanError, Powers},
    host::AsideBody,
    journal::Whose,
    tls::{Ca, Leaf, Tls, TlsListener, TlsTransport},
    traffic::Traffic,
};

use crate::{
    accounts::{Account, Accounts, AccountsError},
    admin::{AdminPlace, AdminPolicy, Door, is_admin},
    callbacks::{CallbackPolicy, Callbacks, Caller, Delivery, HttpCaller},
    cors,
    mind::{Mind, Opening, Staged},
    namespace::ActiveAccount,
    requests::Auth,
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
    /// Where `/__vod/` is answered, and to whom. Default: wherever the protocol is, to everybody.
    pub admin: AdminPolicy,
    /// How TLS is spoken, on every connection. Default: not at all, plain HTTP.
    pub tls: Option<Tls>,
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
            admin: AdminPolicy::default(),
            tls: None,
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
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] io::Error),
}

/// There is no account of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no account named {0:?}")]
pub struct UnknownAccount(pub String);

/// A mock server without a socket of its own: give it a listener, or single connections.
pub struct Mock {
    mind: Arc<Mind>,
    callbacks: Arc<Callbacks>,
    server: Server<MockHost>,
    tls: Option<(Arc<Ca>, Leaf)>,
}

impl Mock {
    /// Opens a mock on a store, and takes up what the store and the journal remember.
    ///
    /// # Errors
    /// If the accounts, the plan or the store cannot be used.
    pub async fn open(config: Config, store: Arc<dyn Store>) -> Result<Arc<Self>, OpenError> {
        #[cfg(feature = "mutants")]
        let (config, store) = crate::mutant::opened(config, store);
        config.accounts.check()?;
        config.limits.check()?;
        let powers = Powers {
            spoils: true,
            rereads: store.rereads(),
            kills: config.killer.is_some(),
            refuses: true,
            longest_body: Some(config.accounts.longest_body(&config.limits)),
        };
        let engine = Arc::new(Engine::new(config.plan, config.seed, powers)?);
        engine.recall(config.journal.kept(&Whose::Everybody).exchanges.iter().map(|exchange| &**exchange));
        let caller = config.caller.unwrap_or_else(|| Arc::new(HttpCaller::default()));
        let callbacks = Callbacks::new(config.callbacks, caller, config.clock);
        let opening = Opening {
            accounts: config.accounts,
            limits: config.limits,
            profile: config.profile,
            auth: config.auth,
            sign_hosts: config.sign_hosts,
            instant_upload: config.instant_upload,
            clock: config.clock,
            journal: Arc::clone(&config.journal),
            engine: Arc::clone(&engine),
            callbacks: Arc::clone(&callbacks),
            admin_here: config.admin.place != AdminPlace::Apart,
        };
        let mind = Arc::new(Mind::open(opening, store).await?);
        let (clock, traffic) = (config.clock, Arc::<Traffic>::default());
        let place = config.admin.place;
        let tls = config.tls.map(|tls| (Arc::clone(&tls.ca), tls.leaf()));
        let leaf = tls.as_ref().map(|(_, leaf)| leaf.clone());
        let admin = Door::new(config.admin, Arc::clone(&mind), Arc::clone(&callbacks), Arc::clone(&traffic), leaf);
        let host = Arc::new(MockHost { mind: Arc::clone(&mind), admin, place });
        let server = Server::new(host, engine, config.journal, clock, config.killer, traffic);
        Ok(Arc::new(Self { mind, callbacks, server, tls }))
    }

    /// Answers for one account more, from now on.
    ///
    /// # Errors
    /// If it cannot be told from another, or used at all.
    pub fn add_account(&self, account: Account) -> Result<(), AccountsError> {
        self.mind.add_account(account).map(drop)
    }

    /// The names of the accounts that are answered for, in order.
    #[must_use]
    pub fn accounts(&self) -> Vec<String> {
        self.mind.namespaces().accounts().iter().map(|active| active.account.name.clone()).collect()
    }

    /// Answers for an account no more, and forgets all that was its own: uploads, faults, evidence. Its requests that
    /// are under way come to nothing. Says whether there was one of this name.
    pub async fn remove_account(&self, name: &str) -> bool {
        self.mind.remove_account(name).await.is_some()
    }

    /// Lets all begin anew: every account, what belongs to none, and the whole server's faults.
    pub async fn reset_all(&self) {
        // What is left was logged.
        let _ = self.mind.reset_all().await;
    }

    /// Lets an account begin anew: without uploads, faults and evidence, its clock where every clock stands.
    ///
    /// # Errors
    /// If there is no account of this name.
    pub async fn reset(&self, account: &str) -> Result<(), UnknownAccount> {
        // What is left was logged.
        let _ = self.mind.reset(&*self.active(account)?).await;
        Ok(())
    }

    /// Moves an account's clock on: its sessions and upload signatures expire by it. Timers and the window of
    /// `Timestamp` go by the machine's time still, and so do the other accounts.
    ///
    /// # Errors
    /// If there is no account of this name.
    pub async fn advance(&self, account: &str, by: Duration) -> Result<(), UnknownAccount> {
        self.mind.advance(&*self.active(account)?, by).await;
        Ok(())
    }

    fn active(&self, name: &str) -> Result<Arc<ActiveAccount>, UnknownAccount> {
        self.mind.namespaces().named(name).ok_or_else(|| UnknownAccount(name.to_owned()))
    }

    /// The faults that are planted, to plant more, to lift them, and to see what became of them.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.mind.engine()
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        self.mind.journal()
    }

    /// Takes connections for as long as it is polled; dropping it drops them all.
    pub async fn serve<L: Listener>(&self, listener: L) -> Infallible {
        match &self.tls {
            None => self.server.run(listener).await,
            Some((_, leaf)) => self.server.run(TlsListener::new(listener, leaf.clone())).await,
        }
    }

    /// Serves one connection to its end.
    pub async fn connection<T: Transport>(&self, transport: T) {
        match &self.tls {
            None => self.server.connection(transport).await,
            Some((_, leaf)) => self.server.connection(TlsTransport::new(transport, leaf)).await,
        }
    }

    /// Takes connections for the admin API alone, for as long as it is polled; dropping it drops them all. They are plain
    /// HTTP, and no fault shuts them. For [`AdminPlace::Apart`]; with another place it is answered here as well.
    pub async fn serve_admin<L: Listener>(&self, listener: L) -> Infallible {
        self.server.run_aside(listener).await
    }

    /// Both, where the admin API has a listener of its own.
    pub(crate) async fn serve_both<L: Listener>(&self, listener: L, admin: Option<L>) -> Infallible {
        let Some(admin) = admin else { return self.serve(listener).await };
        tokio::select! {
            biased;
            never = self.serve_admin(admin) => never,
            never = self.serve(listener) => never,
        }
    }

    /// The certificate that clients must trust, in PEM; none where no TLS is spoken.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|(ca, _)| ca.pem())
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

    /// Waits until the answers of the admin API are out, and whoever follows the exchanges has read to the end: as long
    /// as somebody reads, five seconds at most. Call it after [`stop`](Self::stop), while [`serve`](Self::serve) is still
    /// polled, or they are cut off.
    pub async fn read_out(&self) {
        self.server.read_out().await;
    }

    /// What came in so far that no exchange tells of.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        self.server.traffic()
    }

    /// The evidence so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.mind.journal().exchanges()
    }

    /// Every upload, in order of account and digest. The digests of stored files are taken from their bytes.
    pub async fn uploads(&self) -> Vec<UploadView> {
        self.mind.views(&Whose::Everybody, true).await
    }

    /// Every callback to an application's own server, and what became of it.
    #[must_use]
    pub fn callbacks(&self) -> Vec<Delivery> {
        self.callbacks.log()
    }

    /// What became of every planned fault.
    #[must_use]
    pub fn fates(&self) -> Vec<Fate> {
        self.mind.engine().fates()
    }

    /// How many exchanges the journal's file lacks because they could not be written, as on a full disk.
    #[must_use]
    pub fn unwritable(&self) -> u64 {
        self.mind.journal().unwritable()
    }

    /// The rules that clients broke so far, each with the exchanges that prove it, and what that comes to: where evidence
    /// was evicted, nothing found is no pass.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.mind.findings(&Whose::Everybody)
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
    admin: Door,
    place: AdminPlace,
}

impl Host for MockHost {
    type Caller = Option<Arc<ActiveAccount>>;
    type Staged = Staged;

    async fn subject(&self, head: &Head) -> (Subject, Self::Caller) {
        self.mind.subject(head).await
    }

    fn is_known(&self, caller: &Self::Caller) -> bool {
        caller.as_ref().is_none_or(|active| !active.is_removed())
    }

    async fn read(&self, head: &Head, caller: Self::Caller, body: &mut Body) -> Result<Staged, BodyError> {
        self.mind.read(head, caller, body).await
    }

    fn stakes(&self, staged: &Staged) -> Stakes {
        Mind::stakes(staged)
    }

    async fn has_session(&self, subject: &Subject) -> bool {
        self.mind.has_session(subject).await
    }

    async fn expire_session(&self, subject: &Subject) {
        self.mind.expire_session(subject).await;
    }

    fn body_ceiling(&self, subject: &Subject) -> u64 {
        self.mind.body_ceiling(subject)
    }

    async fn commit(&self, staged: Staged, effects: Effects) -> Result<Answer, End> {
        Ok(self.mind.commit(staged, effects).await)
    }

    fn dress(&self, head: &Head, reply: &mut ReplyOut) {
        cors::dress(head, reply);
    }

    fn is_aside(&self, path: &str) -> bool {
        self.place != AdminPlace::Apart && is_admin(path)
    }

    async fn aside(&self, request: http::Request<hyper::body::Incoming>) -> http::Response<AsideBody> {
        self.admin.answer(request).await
    }
}
