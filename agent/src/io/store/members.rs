//! Which etcd member is used now.
//!
//! One member at a time carries everything, because a balancer over several keeps handing requests to a dead one until each
//! has failed. When it fails, all members are asked, each a little later than the one before, and the first that answers and
//! knows a leader is used. Whether it still answers is asked seldom while nothing else is, and at once when an answer is late.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use petiole_node::Input;
use petiole_node::config::EtcdSettings;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::alarms::Alarms;
use super::heartbeat;
use super::login::{Login, Token, Why};
use super::pulse::{Pulse, Strain};
use super::{diagnosis, words};
use crate::io::tls;

/// How long a member may be silent when no other is any better. The first contact waits as long: where another answers, that
/// one is taken.
pub(super) const PATIENCE_ALONE: Duration = Duration::from_secs(6);
/// How long it may take to find out why a member refuses.
const DIAGNOSIS: Duration = Duration::from_millis(1500);
/// How much later the next member is asked.
const STAGGER: Duration = Duration::from_millis(150);

/// The cluster's members, as configured.
pub(super) struct Members {
    pub(super) settings: EtcdSettings,
    pub(super) spread: u64,
    current: Mutex<Current>,
    login: Login,
    pub(super) alarms: Alarms,
    pub(super) strain: Strain,
}

struct Current {
    /// The member to ask first.
    first: usize,
    member: Option<Member>,
    /// When none was found last, and why.
    none: Option<(Instant, String)>,
}

/// Why a member cannot be used, in words.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unfit {
    /// It does not answer.
    Silent(String),
    Otherwise(String),
}

impl Unfit {
    fn into_words(self) -> String {
        match self {
            Self::Silent(words) | Self::Otherwise(words) => words,
        }
    }
}

/// A member that answered lately.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) endpoint: String,
    health: Arc<watch::Sender<Option<String>>>,
    token: Arc<Token>,
    pub(super) pulse: Arc<Pulse>,
}

impl Member {
    /// It failed, in words: nobody uses it any more.
    pub(super) fn fail(&self, why: &str) {
        self.health.send_if_modified(|health| {
            let first = health.is_none();
            if first {
                *health = Some(why.to_owned());
            }
            first
        });
    }

    /// Ends when the member has failed, with the words for it.
    pub(super) async fn failed(&self) -> String {
        let mut health = self.health.subscribe();
        match health.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => "the driver is gone".to_owned(),
        }
    }

    /// Wait for an answer for as long as the member lives.
    ///
    /// # Errors
    /// The member has failed, in words.
    pub(super) async fn answer<T, E>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>, String> {
        tokio::select! {
            answer = self.pulse.answer(answer) => Ok(answer),
            why = self.failed() => Err(why),
        }
    }

    /// When the token that requests carry was given.
    pub(super) async fn token(&self) -> Option<Instant> {
        self.token.given().await
    }

    fn has_failed(&self) -> bool {
        self.health.borrow().is_some()
    }
}

impl Members {
    pub(super) fn new(settings: EtcdSettings, spread: u64, inputs: mpsc::Sender<Input>) -> Self {
        let count = u64::try_from(settings.endpoints.len().max(1)).unwrap_or(1);
        let first = usize::try_from(spread % count).unwrap_or(0);
        let current = Mutex::new(Current { first, member: None, none: None });
        let (login, alarms, strain) = (Login::default(), Alarms::new(inputs), Strain::new(spread));
        Self { settings, spread, current, login, alarms, strain }
    }

    /// The member in use, or a new one. Callers that come while one is looked for wait for the same.
    ///
    /// # Errors
    /// In words, with what each member said.
    pub(super) async fn member(self: &Arc<Self>) -> Result<Member, String> {
        let came = Instant::now();
        let mut current = self.current.lock().await;
        if let Some(member) = current.member.as_ref().filter(|m| !m.has_failed()) {
            return Ok(member.clone());
        }
        if let Some((_, why)) = current.none.as_ref().filter(|(at, _)| *at >= came) {
            return Err(why.clone());
        }
        // The one that failed is asked last.
        if current.member.take().is_some() {
            current.first = (current.first + 1) % self.settings.endpoints.len().max(1);
        }
        let (at, member) = match self.find(current.first).await {
            Ok(found) => found,
            Err(why) => {
                current.none = Some((Instant::now(), why.clone()));
                return Err(why);
            }
        };
        current.first = at;
        current.member = Some(member.clone());
        tokio::spawn(heartbeat::run(member.clone(), Arc::clone(self)));
        Ok(member)
    }

    async fn find(&self, first: usize) -> Result<(usize, Member), String> {
        let endpoints = &self.settings.endpoints;
        let mut asked: FuturesUnordered<_> = (0..endpoints.len())
            .map(|n| {
                let at = (first + n) % endpoints.len();
                let delay = STAGGER.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
                async move {
                    tokio::time::sleep(delay).await;
                    let endpoint = endpoints.get(at).cloned().unwrap_or_default();
                    (at, self.ask(endpoint).await)
                }
            })
            .collect();
        let mut refused = Vec::new();
        while let Some((at, answer)) = asked.next().await {
            match answer {
                Ok(member) => return Ok((at, member)),
                Err(why) => refused.push((at, why)),
            }
        }
        if refused.iter().any(|(_, why)| matches!(why, Unfit::Silent(_))) {
            self.strain.grow();
        }
        refused.sort();
        let each: Vec<String> = refused.into_iter().map(|(_, why)| why.into_words()).collect();
        Err(match each.len() {
            0 => "no etcd endpoint is configured".to_owned(),
            1 => each.join(""),
            n => format!("none of {n} etcd members can be used: {}", each.join("; ")),
        })
    }

    /// Ends when another member could be used; never, if none can.
    pub(super) async fn another_than(&self, endpoint: &str) {
        let others = self.settings.endpoints.iter().filter(|other| *other != endpoint);
        let mut asked: FuturesUnordered<_> = others.map(|other| self.ask(other.clone())).collect();
        while let Some(answer) = asked.next().await {
            if answer.is_ok() {
                return;
            }
        }
        std::future::pending().await
    }

    async fn ask(&self, endpoint: String) -> Result<Member, Unfit> {
        let patience = self.strain.patience(PATIENCE_ALONE);
        let options = options(&self.settings, &endpoint, patience).map_err(Unfit::Otherwise)?;
        let mut client = Client::connect([&endpoint], Some(options))
            .await
            .map_err(|e| Unfit::Otherwise(words::describe(&e, &endpoint, &self.settings)))?;
        let begun = Instant::now();
        let term = match tokio::time::timeout(patience, client.status()).await {
            Err(_) => return Err(Unfit::Silent(format!("no answer from {endpoint}"))),
            // A version of etcd that asks for a login even for this.
            Ok(Err(e)) if words::is(&e, words::STALE_TOKEN) => 0,
            Ok(Err(e)) => return Err(Unfit::Otherwise(self.explain(&e, &endpoint).await)),
            Ok(Ok(status)) if status.leader() == 0 => {
                return Err(Unfit::Otherwise(format!(
                    "{endpoint} has no leader: fewer than half of the etcd members can be reached from it"
                )));
            }
            Ok(Ok(status)) => {
                self.alarms.report(&endpoint, status.errors()).await;
                status.raft_term()
            }
        };
        let pulse = Arc::new(Pulse::new(term, begun.elapsed()));
        self.login.log_in(&mut client, &endpoint, &self.settings).await.map_err(Unfit::Otherwise)?;
        let (health, token) = (Arc::new(watch::Sender::new(None)), Arc::new(Token::new()));
        Ok(Member { client, endpoint, health, token, pulse })
    }

    /// After etcd refused a request of this node's user: log in again, unless somebody has since the token `seen`. True if the
    /// request is worth another try.
    ///
    /// # Errors
    /// In words, when the login fails.
    pub(super) async fn renew(&self, member: &Member, seen: Option<Instant>, why: Why) -> Result<bool, String> {
        let mut client = member.client.clone();
        member.token.renew(seen, why, &self.login, (&mut client, &member.endpoint, &self.settings)).await
    }

    /// The library's words for a failed first contact name neither side's mistake, so look for it.
    async fn explain(&self, error: &etcd_client::Error, endpoint: &str) -> String {
        let found = tokio::time::timeout(DIAGNOSIS, diagnosis::of(endpoint, &self.settings)).await;
        found.ok().flatten().unwrap_or_else(|| words::describe(error, endpoint, &self.settings))
    }
}

fn options(settings: &EtcdSettings, endpoint: &str, patience: Duration) -> Result<ConnectOptions, String> {
    let options = ConnectOptions::new().with_connect_timeout(patience).with_require_leader(true);
    if !endpoint.starts_with("https://") {
        return Ok(options);
    }
    // Read each time a member is asked, so that rotated files count without a restart.
    let ca = settings.ca.as_deref().unwrap_or_else(|| Path::new(tls::SYSTEM_CA));
    tls::certificates(ca).map_err(|e| format!("{e} ([store] etcd ca)"))?;
    let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?));
    if let (Some(cert), Some(key)) = (&settings.cert, &settings.key) {
        tls::certificates(cert).map_err(|e| format!("{e} ([store] etcd cert)"))?;
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(options.with_tls(tls))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("cannot read {} ([store] etcd): {e}", path.display()))
}
