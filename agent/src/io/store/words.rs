//! What can go wrong with an etcd cluster, in words that say which member, whose fault, and what to do.

use std::io;
use std::path::Path;

use etcd_client::Error;
use petiole_node::config::EtcdSettings;
use petiole_node::store::StoreError;

use crate::io::health::connect_words;
use crate::io::tls;

/// gRPC status codes that etcd gives before it has proposed anything: the request was surely not carried out.
/// `INVALID_ARGUMENT`, `PERMISSION_DENIED`, `RESOURCE_EXHAUSTED`, `FAILED_PRECONDITION`, `UNIMPLEMENTED`, `UNAUTHENTICATED`
/// of grpc's `code.proto`.
const REFUSALS: [i32; 6] = [3, 7, 8, 9, 12, 16];
/// The interceptor of `require_leader` refuses before the request reaches the store (etcd `rpctypes.ErrGRPCNoLeader`).
const NO_LEADER: &str = "etcdserver: no leader";

/// Nobody has to log in (etcd `rpctypes.ErrGRPCAuthNotEnabled`).
pub(super) const NO_AUTH: &[&str] = &["etcdserver: authentication is not enabled"];
/// `rpctypes.ErrGRPCAuthFailed`.
pub(super) const WRONG_PASSWORD: &[&str] = &["etcdserver: authentication failed, invalid user ID or password"];
/// The token is unknown, has expired, or is older than the last change of users and roles; or none was sent, because nobody
/// had to log in yet (`rpctypes.ErrGRPCInvalidAuthToken`, `ErrGRPCAuthOldRevision`, `ErrGRPCUserEmpty`).
pub(super) const STALE_TOKEN: &[&str] =
    &["etcdserver: invalid auth token", "etcdserver: revision of auth store is old", NO_USER];
const NO_USER: &str = "etcdserver: user name is empty";
/// `rpctypes.ErrGRPCPermissionDenied`; also within the reason of a cancelled watch.
pub(super) const DENIED: &str = "etcdserver: permission denied";
/// `rpctypes.ErrGRPCNoSpace`.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// Whether etcd says one of these.
pub(super) fn is(error: &Error, messages: &[&str]) -> bool {
    matches!(error, Error::GRpcStatus(status) if messages.contains(&status.message()))
}

/// What this node may not do, and who can change that. `verb` is `read` or `write`.
pub(super) fn denied(member: &str, settings: &EtcdSettings, verb: &str, key: &str) -> String {
    let who = match (&settings.login, &settings.cert) {
        (Some(login), _) => format!("user {:?}", login.user),
        (None, Some(cert)) => format!("the user that the common name of {} stands for", cert.display()),
        (None, None) => "a client without login".to_owned(),
    };
    format!(
        "{member} does not let {who} {verb} {key}: grant a role of that user `readwrite` on the prefixes /calico/ and /petiole/ \
         (etcdctl role grant-permission ROLE --prefix readwrite PREFIX)"
    )
}

/// What the errors in a member's status mean; empty when there are none (etcd `maintenance.go`, `pb.StatusResponse.Errors`).
pub(super) fn alarm(member: &str, errors: &[String]) -> String {
    let said = |alarm: &str| errors.iter().any(|error| error.contains(alarm));
    if said("NOSPACE") {
        return no_space(member);
    }
    if said("CORRUPT") {
        return format!(
            "{member}: the members of etcd do not hold the same data (CORRUPT alarm), so that nothing can be written: replace the \
             member that differs, then run etcdctl alarm disarm"
        );
    }
    String::new()
}

fn no_space(member: &str) -> String {
    format!(
        "{member}: the database of etcd has reached its quota, so that nothing can be written: compact and defragment it (etcdctl \
         compact, etcdctl defrag), or raise --quota-backend-bytes, then run etcdctl alarm disarm"
    )
}

/// A member wants to know who this is.
pub(super) fn no_login(member: &str) -> String {
    format!(
        "{member} demands a login: set `user` and `password_file` in [store] etcd, or a client certificate whose common name is \
         an etcd user"
    )
}

/// The outcome of a transaction that has none.
pub(super) fn txn_error(error: &Error, member: &str, settings: &EtcdSettings) -> StoreError {
    let words = describe(error, member, settings);
    if surely_refused(error) { StoreError::Refused(words) } else { StoreError::Unknown(words) }
}

fn surely_refused(error: &Error) -> bool {
    match error {
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => true,
        Error::GRpcStatus(status) => {
            // Our own side gives these codes too, for answers that it cannot take: those have no source in etcd's words.
            REFUSALS.contains(&(status.code() as i32)) && status.message().starts_with("etcdserver: ")
                || status.message() == NO_LEADER
                || chain_io(error).is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        }
        _ => false,
    }
}

/// Whether the fault is the member's or the way to it, so that another member may do better.
pub(super) fn is_members_fault(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => {
            !(REFUSALS.contains(&(status.code() as i32)) && status.message().starts_with("etcdserver: "))
        }
        _ => true,
    }
}

/// What a member, or the way to it, said.
pub(super) fn describe(error: &Error, member: &str, settings: &EtcdSettings) -> String {
    if let Some(tls) = source(error).and_then(tls::find) {
        return tls_words(tls, member, settings);
    }
    if let Some(io) = chain_io(error) {
        return connect_words(member, io);
    }
    match error {
        Error::GRpcStatus(status) => match status.message() {
            NO_LEADER => format!("{member} has no leader: fewer than half of the etcd members can be reached from it"),
            NO_USER => no_login(member),
            NO_SPACE => no_space(member),
            message if message.starts_with("etcdserver: ") => {
                format!("{member}: {}", message.trim_start_matches("etcdserver: "))
            }
            message => match deepest(error) {
                Some(why) => format!("{member}: {why}"),
                None => format!("{member}: {message}"),
            },
        },
        other => format!("{member}: {other}"),
    }
}

/// A failed handshake with a member.
pub(super) fn tls_words(error: &rustls::Error, member: &str, settings: &EtcdSettings) -> String {
    // A server that misses our certificate says so with different alerts, by its version.
    if matches!(error, rustls::Error::AlertReceived(_)) && settings.cert.is_none() {
        return format!(
            "{member} ended the TLS handshake ({error}); it seems to demand a client certificate: set `cert` and `key` in \
             [store] etcd"
        );
    }
    let ca = settings.ca.as_deref().unwrap_or_else(|| Path::new(tls::SYSTEM_CA));
    tls::words(error, member, &format!("CA file {} ([store] etcd ca)", ca.display()))
}

fn source(error: &Error) -> Option<&(dyn std::error::Error + 'static)> {
    match error {
        Error::GRpcStatus(status) => std::error::Error::source(status),
        Error::TransportError(e) => Some(e),
        Error::IoError(e) => Some(e),
        _ => None,
    }
}

fn chain_io(error: &Error) -> Option<&io::Error> {
    let mut at = source(error);
    while let Some(e) = at {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return Some(io);
        }
        at = e.source();
    }
    None
}

fn deepest(error: &Error) -> Option<String> {
    let mut at = source(error)?;
    while let Some(deeper) = at.source() {
        at = deeper;
    }
    Some(at.to_string())
}
