//! The configured leaves as the sockets see them: whose connections are taken, and with which key and TTL.
//!
//! A leaf that has a `password_file` is never spoken to without the key in it (RFC 2385): the listener has a key for it before it
//! listens, be it one that nobody has, and a socket that could not get the key is closed before a byte is read or written.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use petiole_node::bgp::{ConnId, PeerId};
use petiole_node::config::{Neighbour, PeerSettings};
use rustix::net::netdevice::index_to_name;
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::counters::Dropped;
use super::key::Key;
use super::signature::Signature;
use super::{sockopt, ttl};

/// How many looks in a row a drop is remembered for that was not followed by another: a leaf may dial only every two minutes.
const REMEMBERED: u32 = 180;

/// Shared by the tasks that dial, accept and watch. No lock is held over anything that waits.
#[derive(Debug)]
pub(super) struct Neighbours(Mutex<Table>);

/// The socket that leaves dial. Not tokio's: that one registers every stranger's socket for events before it is closed.
pub(super) type Listener = AsyncFd<Socket>;

#[derive(Debug, Default)]
struct Table {
    leaves: BTreeMap<PeerId, Leaf>,
    /// The listening socket, and whether it is one of IPv6.
    listener: Option<(Weak<Listener>, bool)>,
}

#[derive(Debug)]
struct Leaf {
    key: Option<KeyFile>,
    ttl_security: bool,
    /// A connection on which nothing arrived for so long is not one to rely on.
    patience: Duration,
    /// Why no connection from it is taken, where the listener could not be made safe.
    deaf: Option<String>,
    dialling: Option<ConnId>,
    live: Vec<Live>,
    /// The counters when it was connected last, or at first.
    dropped_before: Dropped,
    dropped: Dropped,
    /// Looks since `dropped` last grew.
    looks: u32,
    /// What was said last; empty for nothing.
    hint: String,
    trouble: String,
}

#[derive(Debug)]
struct KeyFile {
    path: PathBuf,
    how: Signature,
    /// Why the kernel cannot sign so: then there is no session, whatever the key.
    impossible: Option<String>,
    /// In words where there is none.
    key: Result<Key, String>,
    /// The last look found none; only the second in a row counts, for a file may be seen while it is written.
    missed: bool,
}

#[derive(Debug)]
struct Live {
    conn: ConnId,
    stream: Weak<TcpStream>,
    reset: Arc<Notify>,
    /// The counters when data last arrived, and for how long none had, at the last look.
    dropped_before: Dropped,
    silent: Duration,
    hint: String,
}

/// What a look at files and counters makes necessary.
#[derive(Debug, PartialEq)]
pub(super) enum Finding {
    /// This connection was ended, for this reason.
    Ended(ConnId, String),
    /// Nothing arrives on this connection, and this may be why; empty for nothing any more.
    Hint(ConnId, String),
    /// Something is wrong with this leaf; empty words clear it.
    Trouble(PeerId, String),
}

impl Neighbours {
    pub(super) fn new(leaves: &[PeerSettings]) -> Self {
        let dropped = Dropped::now();
        let leaves = leaves.iter().filter_map(|settings| {
            let id = match &settings.neighbour {
                Neighbour::Address(address) => PeerId::of_address(*address),
                Neighbour::Interface(name) => PeerId::of_interface(name)?,
            };
            let leaf = Leaf {
                key: Signature::wanted(settings).map(KeyFile::new),
                ttl_security: settings.ttl_security,
                patience: patience(settings.hold_time),
                deaf: None,
                dialling: None,
                live: Vec::new(),
                dropped_before: dropped,
                dropped,
                looks: 0,
                hint: String::new(),
                trouble: String::new(),
            };
            Some((id, leaf))
        });
        Self(Mutex::new(Table { leaves: leaves.collect(), listener: None }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose connection it is: an address, or the interface of a link-local one.
    pub(super) fn whose(&self, remote: SocketAddr, socket: impl AsFd) -> Option<PeerId> {
        let by_address = PeerId::of_address(remote.ip().to_canonical());
        let leaves = &self.table().leaves;
        if leaves.contains_key(&by_address) {
            return Some(by_address);
        }
        let SocketAddr::V6(remote) = remote else { return None };
        if !remote.ip().is_unicast_link_local() {
            return None;
        }
        let name = index_to_name(socket, remote.scope_id()).ok()?;
        PeerId::of_interface(&name).filter(|by_interface| leaves.contains_key(by_interface))
    }

    /// The files with keys, and whose they are.
    pub(super) fn key_files(&self) -> Vec<(PeerId, PathBuf)> {
        let table = self.table();
        let files = table.leaves.iter().filter_map(|(id, leaf)| Some((*id, leaf.key.as_ref()?.path.clone())));
        files.collect()
    }

    /// Make a socket safe that is about to dial.
    pub(super) fn secure(&self, id: PeerId, remote: IpAddr, socket: impl AsFd) -> Result<(), String> {
        match self.table().leaves.get(&id) {
            Some(leaf) => leaf.secure(remote, &socket, remote.is_ipv6()),
            None => Err(format!("{id} is no configured leaf")),
        }
    }

    /// Take a connection in before anything is read or written, and have its key changed with the file from now on.
    pub(super) fn adopt(
        &self,
        id: PeerId,
        conn: ConnId,
        stream: &Arc<TcpStream>,
        reset: &Arc<Notify>,
    ) -> Result<(), String> {
        let mut table = self.table();
        let Some(leaf) = table.leaves.get_mut(&id) else { return Err(format!("{id} is no configured leaf")) };
        if let (ConnId::Accepted(_), Some(words)) = (conn, &leaf.deaf) {
            return Err(words.clone());
        }
        // Again where it was dialled: the file may have changed since.
        leaf.secure_stream(stream)?;
        leaf.live.retain(|live| live.stream.strong_count() > 0);
        leaf.live.push(Live {
            conn,
            stream: Arc::downgrade(stream),
            reset: Arc::clone(reset),
            dropped_before: Dropped::now(),
            silent: Duration::ZERO,
            hint: String::new(),
        });
        Ok(())
    }

    /// Note who is being dialled. What is returned keeps the note.
    pub(super) fn dialling(self: &Arc<Self>, id: PeerId, conn: ConnId) -> Dialling {
        if let Some(leaf) = self.table().leaves.get_mut(&id) {
            leaf.dialling = Some(conn);
            leaf.hint.clear();
        }
        Dialling { neighbours: Arc::clone(self), id, conn }
    }

    /// Make a socket safe that is about to listen. What is not safe is not taken from it; the rest is.
    pub(super) fn secure_listener(&self, socket: &Socket, v6_socket: bool) {
        let mut table = self.table();
        let guarded = || table.leaves.iter().filter(|(_, leaf)| leaf.ttl_security);
        let all = guarded().count() == table.leaves.len();
        // A link-local source has not been forwarded (RFC 4291 section 2.5.6); its TTL is still looked at once it is accepted.
        let addresses: Vec<IpAddr> = guarded().filter_map(|(id, _)| id.address()).collect();
        let filtered = ttl::filter(socket, &addresses);
        if all && !table.leaves.is_empty() {
            // Counted by the kernel, unlike what the filter drops.
            let _ = sockopt::only_from_the_link(socket, v6_socket);
        }
        for (id, leaf) in &mut table.leaves {
            leaf.deaf = None;
            let Some(address) = id.address().filter(|address| v6_socket || address.is_ipv4()) else { continue };
            if let (true, Err(e)) = (leaf.ttl_security, &filtered) {
                leaf.deaf = Some(format!("the listening socket cannot be kept to the link: {e}"));
            }
            let signed = leaf.key.as_ref().map(|file| listen_with(file, socket, address, v6_socket));
            if let Some(Err(words)) = signed {
                leaf.deaf = Some(words);
            }
        }
    }

    /// The socket that listens; its keys change with the files from now on.
    pub(super) fn set_listener(&self, listener: &Arc<Listener>, v6_socket: bool) {
        self.table().listener = Some((Arc::downgrade(listener), v6_socket));
    }

    /// Compare files and counters with those before, install what is new, and say what follows.
    pub(super) fn look(&self, read: Vec<(PeerId, Result<Key, String>)>, dropped: Dropped) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut table = self.table();
        let Table { leaves, listener } = &mut *table;
        let listener = listener.as_ref().and_then(|(l, v6)| Some((l.upgrade()?, *v6)));
        for (id, found) in read {
            if let Some(leaf) = leaves.get_mut(&id) {
                leaf.take_key(id, found, listener.as_ref(), &mut findings);
            }
        }
        // The kernel counts for all leaves together; only those without a connection can have caused it.
        let suspects = |signed: bool| {
            let down = leaves.values().filter(|leaf| leaf.md5().is_some() == signed && !leaf.is_connected());
            down.count()
        };
        let (signed, unsigned) = (suspects(true), suspects(false));
        for (id, leaf) in leaves.iter_mut() {
            let suspects = if leaf.md5().is_some() { signed } else { unsigned };
            leaf.suspect(*id, dropped, suspects, &mut findings);
        }
        findings
    }
}

impl Leaf {
    /// Whether there is a connection, and nothing wrong with it as far as is known.
    fn is_connected(&self) -> bool {
        self.live.iter().any(|live| live.stream.strong_count() > 0 && live.hint.is_empty())
    }

    /// The file with its key of TCP MD5, if it has one: the kernel's counters are those of TCP MD5.
    fn md5(&self) -> Option<&KeyFile> {
        self.key.as_ref().filter(|file| file.how == Signature::Md5)
    }

    fn secure(&self, remote: IpAddr, socket: &impl AsFd, v6_socket: bool) -> Result<(), String> {
        if let Some(file) = &self.key {
            file.how.sign(socket, v6_socket, remote.to_canonical(), file.usable()?.bytes())?;
        }
        self.keep_to_the_link(socket, v6_socket)
    }

    fn keep_to_the_link(&self, socket: &impl AsFd, v6_socket: bool) -> Result<(), String> {
        if self.ttl_security {
            let set = sockopt::only_from_the_link(socket, v6_socket);
            set.map_err(|e| format!("this kernel cannot keep a socket to the link (ttl_security): {e}"))?;
        }
        Ok(())
    }

    fn secure_stream(&self, stream: &TcpStream) -> Result<(), String> {
        let ends = stream.peer_addr().and_then(|remote| Ok((remote, stream.local_addr()?)));
        let (remote, local) = ends.map_err(|e| format!("the connection is gone: {e}"))?;
        let v6_socket = local.is_ipv6();
        if let Some(file) = &self.key {
            file.how.renew(stream, v6_socket, remote.ip().to_canonical(), file.usable()?.bytes())?;
        }
        self.keep_to_the_link(&stream, v6_socket)
    }

    /// A key was read from the file, or could not be.
    fn take_key(
        &mut self,
        id: PeerId,
        found: Result<Key, String>,
        listener: Option<&(Arc<Listener>, bool)>,
        findings: &mut Vec<Finding>,
    ) {
        let Some(file) = &mut self.key else { return };
        let missed = std::mem::replace(&mut file.missed, found.is_err());
        if file.key == found || (found.is_err() && file.key.is_ok() && !missed) {
            return;
        }
        let (was_there, path) = (file.key.is_ok(), file.path.display());
        match &found {
            Ok(_) => tracing::info!("the {} key for {id} in {path} is used from now on", file.how.name()),
            Err(words) if was_there => tracing::warn!("the {} key for {id} is used no more: {words}", file.how.name()),
            Err(_) => {}
        }
        file.key = found;
        if let Some((listener, v6_socket)) = listener
            && let Some(address) = id.address().filter(|address| *v6_socket || address.is_ipv4())
            && self.deaf.is_none()
            && let Err(words) = listen_with(file, listener, address, *v6_socket)
        {
            self.deaf = Some(words);
        }
        let live: Vec<(Arc<TcpStream>, Live)> =
            self.live.drain(..).filter_map(|live| Some((live.stream.upgrade()?, live))).collect();
        for (stream, live) in live {
            match self.secure_stream(&stream) {
                Ok(()) => self.live.push(live),
                Err(words) => {
                    live.reset.notify_one();
                    findings.push(Finding::Ended(live.conn, words));
                }
            }
        }
    }

    /// What the kernel dropped may have been this leaf's.
    fn suspect(&mut self, id: PeerId, dropped: Dropped, suspects: usize, findings: &mut Vec<Finding>) {
        let (signed, near) = (self.md5().is_some(), self.ttl_security);
        for live in &mut self.live {
            let Some(stream) = live.stream.upgrade() else { continue };
            let silent = sockopt::last_received(&stream).unwrap_or_default();
            // Grows from look to look, unless something has arrived.
            if silent < live.silent {
                live.dropped_before = dropped;
            }
            live.silent = silent;
            let suspicious = silent > self.patience;
            let hint = suspicious.then(|| dropped.since(live.dropped_before).words(signed, near, 1)).flatten();
            let hint = hint.unwrap_or_default();
            if hint != live.hint {
                live.hint.clone_from(&hint);
                findings.push(Finding::Hint(live.conn, hint));
            }
        }
        if self.dropped != dropped {
            (self.dropped, self.looks) = (dropped, 0);
        }
        self.looks = self.looks.saturating_add(1);
        if self.is_connected() || self.looks > REMEMBERED {
            self.dropped_before = dropped;
        }
        let meanwhile = dropped.since(self.dropped_before);
        let words = meanwhile.words(signed, near, suspects);
        if let Some(conn) = self.dialling {
            let hint = match words.as_ref() {
                Some(words) => format!("no answer from {id}, and {words}"),
                None if self.key.is_some() => {
                    format!("no answer from {id}; one that has another key, or none, gives none")
                }
                None => String::new(),
            };
            if hint != self.hint {
                self.hint.clone_from(&hint);
                findings.push(Finding::Hint(conn, hint));
            }
        }
        let why = match (&self.key, &self.deaf) {
            (Some(KeyFile { impossible: Some(words), .. }), _) => Some(words.clone()),
            (Some(KeyFile { key: Err(words), .. }), _) => Some(words.clone()),
            (_, Some(words)) => Some(format!("its connections are not accepted: {words}")),
            (_, None) => meanwhile.trouble(self.md5().map(|file| file.path.as_path()), near),
        };
        let trouble = why.map(|why| format!("no session with {id}: {why}")).unwrap_or_default();
        if trouble != self.trouble {
            self.trouble.clone_from(&trouble);
            findings.push(Finding::Trouble(id, trouble));
        }
    }
}

/// A leaf that is being dialled.
pub(super) struct Dialling {
    neighbours: Arc<Neighbours>,
    id: PeerId,
    conn: ConnId,
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if let Some(leaf) = self.neighbours.table().leaves.get_mut(&self.id) {
            leaf.dialling.take_if(|conn| *conn == self.conn);
        }
    }
}

impl KeyFile {
    fn new((how, path): (Signature, PathBuf)) -> Self {
        Self { key: Key::read(&path), impossible: how.impossible(), path, how, missed: false }
    }

    /// The key to sign with.
    fn usable(&self) -> Result<&Key, String> {
        match (&self.impossible, &self.key) {
            (Some(words), _) => Err(words.clone()),
            (None, Ok(key)) => Ok(key),
            (None, Err(words)) => Err(format!("no {} key: {words}", self.how.name())),
        }
    }
}

/// A leaf sends a KEEPALIVE at least each third of the hold time that we offer (RFC 4271 section 4.4).
fn patience(hold_time: Duration) -> Duration {
    let interval = if hold_time.is_zero() { Duration::from_secs(9) } else { hold_time / 3 };
    interval + Duration::from_secs(1)
}

/// Give the listener the key, or where there is none one that nobody has: so no connection without it ever waits to be taken.
fn listen_with(file: &KeyFile, socket: &impl AsFd, leaf: IpAddr, v6_socket: bool) -> Result<(), String> {
    if let Some(words) = &file.impossible {
        return Err(words.clone());
    }
    let key = match &file.key {
        Ok(key) => key.clone(),
        Err(_) => Key::nobodys()?,
    };
    file.how.replace(socket, v6_socket, leaf, key.bytes())
}

impl Dropped {
    /// What was dropped, counted, and what it means for a leaf that is not heard. `None` where it means nothing.
    fn words(self, signed: bool, near: bool, suspects: usize) -> Option<String> {
        let many = |n: u64| if n == 1 { "1 segment".to_owned() } else { format!("{n} segments") };
        let mut parts = Vec::new();
        if signed && self.wrong > 0 {
            let n = many(self.wrong);
            parts.push(format!("{n} with a wrong TCP MD5 signature arrived here meanwhile: the keys differ"));
        }
        if signed && self.unsigned > 0 {
            let n = many(self.unsigned);
            parts.push(format!("{n} without a TCP MD5 signature arrived here meanwhile: the leaf has no key for us"));
        }
        if !signed && self.unexpected > 0 {
            let n = many(self.unexpected);
            parts.push(format!("{n} with a TCP MD5 signature arrived here meanwhile, and there is no password_file"));
        }
        if near && self.far > 0 {
            let n = many(self.far);
            parts.push(format!(
                "{n} with a TTL below 255 arrived here meanwhile: the leaf is not on the link, or has no ttl-security"
            ));
        }
        if suspects > 1 && !parts.is_empty() {
            parts.push(format!("the kernel does not say of which of {suspects} leaves without a session"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The same for a problem: it stays as it is while the counts grow.
    fn trouble(self, key: Option<&Path>, near: bool) -> Option<String> {
        Some(match key {
            Some(path) if self.wrong > 0 => {
                let path = path.display();
                format!("what arrives has a wrong TCP MD5 signature: the keys differ; compare {path} with the leaf's")
            }
            Some(_) if self.unsigned > 0 => {
                "what arrives has no TCP MD5 signature: give the leaf the key for this node too".to_owned()
            }
            None if self.unexpected > 0 => {
                "what arrives has a TCP MD5 signature, and there is no key for it: set password_file".to_owned()
            }
            _ if near && self.far > 0 => "what arrives has a TTL below 255: the leaf is not on the link, or has no \
                                          ttl-security; set it there, or take ttl_security out here"
                .to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
