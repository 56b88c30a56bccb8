//! The login of an etcd user: the password is read from its file each time, so that a new one counts without a restart.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use etcd_client::Client;
use petiole_node::config::{EtcdLogin, EtcdSettings};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::words;

/// How long etcd may take: it hashes the password with bcrypt, a tenth of a second each, and a fleet may log in at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// A password that was refused is not tried again for so long, unless the file has another one.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// A token as young as this has not expired: etcd means the user when it denies something.
const FRESH: Duration = Duration::from_secs(2);
/// Longer than any password that etcd's bcrypt looks at (72 bytes).
const LONGEST: u64 = 1024;

/// What is known of this node's login, over all members: a token is good at each of them only for some kinds of token.
#[derive(Debug, Default)]
pub(super) struct Login {
    refused: Mutex<Option<Refused>>,
}

#[derive(Debug)]
struct Refused {
    password: String,
    at: Instant,
    words: String,
}

/// The token that a connection sends.
#[derive(Debug, Default)]
pub(super) struct Token {
    /// When it was given; `None` where nobody logs in.
    given: Mutex<Option<Instant>>,
}

impl Login {
    /// Log in, where a user is configured and etcd wants to know one.
    ///
    /// # Errors
    /// In words: no password to be had, or etcd refuses it.
    pub(super) async fn log_in(
        &self,
        client: &mut Client,
        member: &str,
        settings: &EtcdSettings,
    ) -> Result<(), String> {
        let Some(login) = &settings.login else { return Ok(()) };
        let password = password(&login.password_file)?;
        let mut refused = self.refused.lock().await;
        if let Some(known) = refused.as_ref().filter(|r| r.password == password && r.at.elapsed() < REFUSED_FOR) {
            return Err(known.words.clone());
        }
        *refused = None;
        // Nobody else of this node waits for long: the lock keeps one password from being tried by many at once.
        let credentials = Some((login.user.clone(), password.clone()));
        match tokio::time::timeout(PATIENCE, client.update_user(credentials)).await {
            Ok(Ok(())) => Ok(()),
            // Nobody has to log in any more, or yet; even then etcd refuses a token that it does not know.
            Ok(Err(error)) if words::is(&error, words::NO_AUTH) => {
                client.update_user(None).await.map_err(|e| words::describe(&e, member, settings))
            }
            Ok(Err(error)) if words::is(&error, words::WRONG_PASSWORD) => {
                let words = wrong(member, login);
                *refused = Some(Refused { password, at: Instant::now(), words: words.clone() });
                Err(words)
            }
            Ok(Err(error)) => Err(words::describe(&error, member, settings)),
            Err(_) => Err(format!("no answer from {member} to the login of user {}", login.user)),
        }
    }
}

impl Token {
    /// One that was given now.
    pub(super) fn new() -> Self {
        Self { given: Mutex::new(Some(Instant::now())) }
    }

    /// When it was given, to be handed back to [`renew`](Self::renew).
    pub(super) async fn given(&self) -> Option<Instant> {
        *self.given.lock().await
    }

    /// Log in again, unless somebody has since `seen`. Says whether there is a new token.
    pub(super) async fn renew(
        &self,
        seen: Option<Instant>,
        why: Why,
        login: &Login,
        (client, member, settings): (&mut Client, &str, &EtcdSettings),
    ) -> Result<bool, String> {
        let mut given = self.given.lock().await;
        if *given != seen {
            return Ok(true);
        }
        let fresh = given.is_some_and(|at| at.elapsed() < FRESH);
        if settings.login.is_none() || (fresh && why == Why::Denied) {
            return Ok(false);
        }
        login.log_in(client, member, settings).await?;
        *given = Some(Instant::now());
        Ok(true)
    }
}

/// Why a new token is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// etcd says that the token is not good.
    Expired,
    /// etcd denies a watch: that is also how some versions treat one with an expired token (etcd issue 12385).
    Denied,
}

impl Why {
    /// From the reason of a cancelled watch, which carries etcd's message.
    pub(super) fn of_cancel(reason: &str) -> Option<Self> {
        if words::STALE_TOKEN.iter().any(|message| reason.contains(message)) {
            return Some(Self::Expired);
        }
        reason.contains(words::DENIED).then_some(Self::Denied)
    }
}

fn wrong(member: &str, login: &EtcdLogin) -> String {
    let (user, file) = (&login.user, login.password_file.display());
    format!(
        "{member} refuses the login of user {user:?}: its password is not the one in {file}, or there is no such user; write \
         the right one into the file, or set it with `etcdctl user passwd {user}`"
    )
}

/// The password: the one line of the file.
fn password(path: &Path) -> Result<String, String> {
    let name = path.display();
    let wanted = "([store] etcd password_file)";
    // Not blocked by a pipe that nobody writes to.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|e| format!("cannot read {name} {wanted}: {e}"))?;
    let about = file.metadata().map_err(|e| format!("cannot read {name} {wanted}: {e}"))?;
    if !about.is_file() {
        return Err(format!("{name} is no file {wanted}"));
    }
    if about.mode() & 0o007 != 0 {
        return Err(format!("everybody may use the password in {name}: run `chmod 600 {name}`"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|e| format!("cannot read {name} {wanted}: {e}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" => Err(format!("{name} is empty: write the password of the etcd user into it {wanted}")),
        line if line.contains('\n') => Err(format!("{name} has more than one line: a password is one {wanted}")),
        line => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests;
