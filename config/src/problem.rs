//! What can be wrong with a configuration, each with what to write instead.

mod notice;

pub use notice::Notice;

use std::net::SocketAddr;

use crate::community::NoCommunity;
use petiole_prefix::{Prefix, PrefixError};

/// What is wrong, and what to write. `section` is written as in the file: `[node]`, `[[bgp.peer]]`, `health`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The bytes are no UTF-8.
    #[error("this byte is not UTF-8: write the file as plain UTF-8 text")]
    NotUtf8,
    /// The text is no TOML.
    #[error("not valid TOML: {0}; the rest of the file is checked once this is right")]
    Syntax(String),
    /// A section that does not exist.
    #[error("there is no section {key:?}{} {valid}", suggest(near, "the sections are"))]
    UnknownSection {
        /// What was written.
        key: String,
        /// The nearest section.
        near: Option<&'static str>,
        /// All sections.
        valid: String,
    },
    /// A key that does not exist.
    #[error("{section} has no key {key:?}{} {valid}", suggest(near, "its keys are"))]
    UnknownKey {
        /// Where it was written.
        section: &'static str,
        /// What was written.
        key: String,
        /// The nearest key.
        near: Option<&'static str>,
        /// All keys of the section.
        valid: String,
    },
    /// A key of the contract whose feature does not exist yet.
    #[error("`{key}` in {section} is known, but this version has no {feature}: remove it")]
    NotYet {
        /// Where it was written.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What is missing.
        feature: &'static str,
    },
    /// A value of another type.
    #[error("`{key}` in {section} is {found}: write {wanted}")]
    WrongType {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The type found, with its article.
        found: &'static str,
        /// What is expected, with an example.
        wanted: &'static str,
    },
    /// A section written as something else.
    #[error("{section} is {found}: write it as {wanted}")]
    NotATable {
        /// The section.
        section: &'static str,
        /// The type found, with its article.
        found: &'static str,
        /// The form, with an example.
        wanted: &'static str,
    },
    /// A key that has no default.
    #[error("{section} needs `{key}`: write {write}")]
    Missing {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// An example.
        write: &'static str,
    },
    /// A number outside its range.
    #[error("`{key}` in {section} is {value}: write a number from {min} to {max}")]
    OutOfRange {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A duration that cannot be read.
    #[error("`{key}` in {section} is no duration: {}; a duration is a whole number with its unit, one of ms, s, m and h, such as \"500ms\" or \"9s\"",
        .near.as_ref().map_or_else(|| format!("{text} cannot be read"), |near| format!("{text} should be \"{near}\"")))]
    BadDuration {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written, quoted.
        text: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// A duration outside its range, or with a fraction of a second.
    #[error("`{key}` in {section} is {value}: write whole seconds, {min} to {max}")]
    WholeSeconds {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// Shortest.
        min: &'static str,
        /// Longest.
        max: &'static str,
    },
    /// A duration outside its range.
    #[error("`{key}` in {section} is {value}: write {min} to {max}")]
    DurationRange {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// Shortest.
        min: &'static str,
        /// Longest.
        max: &'static str,
    },
    /// A probe that may take longer than the time between two.
    #[error(
        "`timeout` is {timeout} but `interval` is {interval}, so probes would overlap: write a timeout of at most {interval}"
    )]
    TimeoutOverInterval {
        /// The timeout.
        timeout: String,
        /// The interval.
        interval: String,
    },
    /// A hold time BGP cannot carry.
    #[error(
        "`hold_time` is {0}: BGP (RFC 4271, section 4.2) allows whole seconds, at least \"3s\" and at most \"65535s\", or \"0s\" for a session without keepalives"
    )]
    HoldTime(String),
    /// A prefix that cannot be read, or has host bits.
    #[error("`{key}` in {section}: {error}")]
    BadPrefix {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        error: PrefixError,
    },
    /// Something that is no address.
    #[error("`{key}` in {section} is {text}, which is no IP address: write {wanted}")]
    BadAddress {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written, quoted.
        text: String,
        /// An example.
        wanted: String,
    },
    /// Something that is no address with port.
    #[error("`{key}` in {section} is {text}, which is no address with a port: write {wanted}")]
    BadListen {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written, quoted.
        text: String,
        /// What was probably meant.
        wanted: String,
    },
    /// An address that cannot serve here.
    #[error("`{key}` in {section} is {addr}, {why}: write {wanted}")]
    UselessAddress {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The address or prefix.
        addr: String,
        /// Why it cannot serve.
        why: &'static str,
        /// What to write.
        wanted: &'static str,
    },
    /// A path that depends on where the agent was started.
    #[error(
        "`{key}` in {section} is {text}, which depends on where the agent was started: write an absolute path such as {wanted}"
    )]
    RelativePath {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written, quoted.
        text: String,
        /// An example.
        wanted: &'static str,
    },
    /// A path that the kernel cannot bind a socket in.
    #[error(
        "`run` in [paths] is {len} bytes long, too long for the sockets in it: write a path of at most {max} bytes"
    )]
    RunPathTooLong {
        /// Length in bytes.
        len: usize,
        /// The longest that works.
        max: usize,
    },
    /// An empty node name.
    #[error("the node's name is empty: write `name` in [node], such as \"worker1\"")]
    NameEmpty,
    /// A node name that is too long.
    #[error("the node's name has {0} bytes: a name has at most 253")]
    NameTooLong(usize),
    /// A node name with a character that keys of the store cannot carry.
    #[error(
        "the node's name has the character {0:?}: names are parts of keys in the store, so use letters, digits, '.', '-' and '_'"
    )]
    NameCharacter(char),
    /// A role that does not exist.
    #[error("there is no role {text}{} worker, master and ingress", suggest(near, "the roles are"))]
    UnknownRole {
        /// What was written, quoted.
        text: String,
        /// The nearest role.
        near: Option<&'static str>,
    },
    /// A kind of announcement that does not exist.
    #[error("there is no kind {text} of [[announce]]{} anycast and service-range", suggest(near, "the kinds are"))]
    UnknownKind {
        /// What was written, quoted.
        text: String,
        /// The nearest kind.
        near: Option<&'static str>,
    },
    /// A text that is no community.
    #[error("`communities` in {section} has {text}: {why}")]
    BadCommunity {
        /// Where.
        section: &'static str,
        /// What was written, quoted.
        text: String,
        /// What one looks like.
        why: NoCommunity,
    },
    /// The community that a drain sets.
    #[error(
        "`communities` in {section} has GRACEFUL_SHUTDOWN (65535:0, RFC 8326), with which leaves avoid this node for ever: remove it, and say `petiole drain` when the node is to go"
    )]
    DrainCommunity {
        /// Where.
        section: &'static str,
    },
    /// More communities than messages have room for.
    #[error("`communities` in {section} has {count}: write {max} at most, so that a message has room for prefixes")]
    TooManyCommunities {
        /// Where.
        section: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A role that a node does not have.
    #[error(
        "`role` in [[bgp.peer]] is {text}: a node is a leaf's customer, or the client of a route server, so write \"customer\", \"rs-client\", or false to say nothing (RFC 9234)"
    )]
    BadRole {
        /// What was written, quoted.
        text: String,
    },
    /// An action that does not exist.
    #[error("there is no action {text} of max_prefix{} warn, restart and idle", suggest(near, "the actions are"))]
    UnknownAction {
        /// What was written, quoted.
        text: String,
        /// The nearest action.
        near: Option<&'static str>,
    },
    /// A wait for something that does not happen.
    #[error(
        "`restart_after` is for action = \"restart\", but the action is {action:?}: remove it, or write action = \"restart\""
    )]
    RestartAfterWithoutRestart {
        /// The action.
        action: &'static str,
    },
    /// A send hold time that ends sessions before the hold timer does.
    #[error(
        "`send_hold_time` is {time}, no longer than the hold time of {hold}: write more, such as \"8m\", or \"0s\" to wait for ever"
    )]
    SendHoldBelowHold {
        /// What was written.
        time: String,
        /// The hold time.
        hold: String,
    },
    /// The same thing twice.
    #[error("{what} is already in line {first}: remove one of the two")]
    Twice {
        /// What, such as `role "worker"`.
        what: String,
        /// Line of the first.
        first: usize,
    },
    /// An AS number that RFCs keep out of use.
    #[error("`asn` in {section} is {asn}, {why}: write the AS number {whose}, such as {example}")]
    ReservedAsn {
        /// Where.
        section: &'static str,
        /// The number.
        asn: u32,
        /// Which RFC keeps it.
        why: &'static str,
        /// Whose number is meant.
        whose: &'static str,
        /// An example.
        example: &'static str,
    },
    /// A word in place of an AS number.
    #[error("`asn` in [[bgp.peer]] is {text}: write a number such as 65001, or \"external\" for any AS but our own")]
    BadPeerAsn {
        /// What was written, quoted.
        text: String,
    },
    /// Two ways to say which neighbour is meant.
    #[error(
        "[[bgp.peer]] has both `address` and `interface`: keep `address` for a leaf on a subnet of this node, or `interface` for one that is found on that link"
    )]
    AddressAndInterface,
    /// A key that hangs on the neighbour's address.
    #[error(
        "`{key}` in [[bgp.peer]] does not go with `interface`: {why}; write the leaf's `address`, or take `{key}` out"
    )]
    NotWithInterface {
        /// The key.
        key: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// TCP MD5 and TCP-AO for one leaf.
    #[error(
        "[[bgp.peer]] has both `password_file` and `tcp_ao`, and a connection has one of the two signatures (RFC 5925): keep that which the leaf has"
    )]
    TwoSignatures,
    /// An algorithm of TCP-AO that does not exist.
    #[error("there is no algorithm {text} of tcp_ao: write \"hmac-sha-1-96\" or \"aes-128-cmac-96\"")]
    UnknownTcpAoAlgorithm {
        /// What was written, quoted.
        text: String,
    },
    /// A name that no interface can have.
    #[error("`interface` in [[bgp.peer]] is {text}, {why}; write the uplink's name, such as \"eth1\"")]
    BadInterface {
        /// What was written, quoted.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A peer of our own AS.
    #[error(
        "`asn` in [[bgp.peer]] is {0}, our own AS: a node speaks eBGP only, so leaf and node need different AS numbers"
    )]
    InternalPeer(u32),
    /// A peer that is ourselves.
    #[error("the peer {addr} is this node itself ({what}, line {line}): write the leaf's address on that uplink")]
    PeerIsSelf {
        /// The address.
        addr: String,
        /// Which of ours it is.
        what: String,
        /// Where that is.
        line: usize,
    },
    /// Peers, but no store was chosen.
    #[error(
        "there are peers but no [store]: with a store of its own this node could claim a block that another node owns; write [store] with etcd = {{ endpoints = [\"http://10.122.0.1:2379\"] }}, or embedded = \"/var/lib/petiole/store\" if no other node shares these pools"
    )]
    StoreNotSaid,
    /// Two stores.
    #[error(
        "[store] has both `etcd` and `embedded`: keep `etcd` for a cluster, or `embedded` for a node that shares its pools with nobody"
    )]
    TwoStores,
    /// The API server by a file and by the service account.
    #[error("[kubernetes] has `kubeconfig` and `in_cluster = true`: keep one of them")]
    TwoWaysToKubernetes,
    /// Neither of the two.
    #[error(
        "[kubernetes] does not say how to reach the API server: write in_cluster = true in a pod, else kubeconfig = \"/etc/kubernetes/petiole.conf\""
    )]
    NoWayToKubernetes,
    /// Neither of the two.
    #[error(
        "`source` in [ipam] is {0:?}: write \"store\" (blocks of the store's pools) or \"node\" (spec.podCIDRs of the Node object)"
    )]
    BadSource(String),
    /// The ranges come from the API, and nothing says where that is.
    #[error(
        "[ipam] source = \"node\" takes this node's ranges from its Node object: add [kubernetes] with kubeconfig or in_cluster"
    )]
    SourceWithoutKubernetes,
    /// The ranges come from the API, and blocks would come from etcd.
    #[error(
        "[ipam] source = \"node\" is for clusters without an etcd for Petiole: write embedded = \"/var/lib/petiole/store\" in [store], or leave [ipam] source away and let the store's pools have the blocks"
    )]
    SourceWithEtcd,
    /// The ranges come from the API, and here are others.
    #[error("pool {0} does not go with source = \"node\", where the Node object says the ranges: remove one of them")]
    SourceWithPools(Prefix),
    /// No endpoint.
    #[error("`endpoints` is empty: write at least one, such as \"http://10.122.0.1:2379\"")]
    NoEndpoints,
    /// A URL that cannot be used.
    #[error("`{key}` in {section} is {text}: {why}; write {wanted}")]
    BadUrl {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written, quoted.
        text: String,
        /// What is wrong.
        why: &'static str,
        /// What to write.
        wanted: String,
    },
    /// One of a certificate's two halves.
    #[error("`{given}` in [store] etcd needs `{missing}`: a client certificate is two files, write both or none")]
    HalfCertificate {
        /// The half that was given.
        given: &'static str,
        /// The half that was not.
        missing: &'static str,
    },
    /// One of a login's two halves.
    #[error(
        "`{given}` in [store] etcd needs `{missing}`: a login is a name and the file of its password, write both; a client \
         certificate that stands for an etcd user needs neither"
    )]
    HalfLogin {
        /// The half that was given.
        given: &'static str,
        /// The half that was not.
        missing: &'static str,
    },
    /// An empty name of a user.
    #[error("`user` in [store] etcd is empty: write the name of an etcd user, or take `user` and `password_file` out")]
    NoUser,
    /// TLS files for a connection without TLS.
    #[error("`{key}` in {section} is for https, but {text} is http: write https, or remove `{key}`")]
    TlsWithoutHttps {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The URL, quoted.
        text: String,
    },
    /// An https endpoint that nothing can verify.
    #[error(
        "{text} is https, but [store] etcd has no `ca`: write ca = \"/etc/petiole/etcd-ca.pem\", the file that signed etcd's certificate"
    )]
    EndpointWithoutCa {
        /// The endpoint, quoted.
        text: String,
    },
    /// An https check that nothing can verify.
    #[error(
        "{text} is https, but `health` has no `ca`: write ca = \"/etc/kubernetes/pki/ca.crt\", or insecure = true to take any certificate"
    )]
    CheckWithoutCa {
        /// The URL, quoted.
        text: String,
    },
    /// A CA that would not be looked at.
    #[error(
        "`health` has both `ca` and insecure = true: keep `ca` to verify the certificate, or `insecure` to take any"
    )]
    CaAndInsecure,
    /// Not exactly one check.
    #[error(
        "`health` has {found}: write exactly one of http = \"http://127.0.0.1:10256/healthz\", tcp = \"127.0.0.1:6443\" and command = [\"/usr/local/bin/check\"]"
    )]
    CheckCount {
        /// Which ones.
        found: String,
    },
    /// A command that cannot be run.
    #[error(
        "`command` in health {why}: write the absolute path and the arguments, such as [\"/usr/local/bin/check\", \"--quick\"]"
    )]
    BadCommand {
        /// What is wrong.
        why: &'static str,
    },
    /// A key of another check.
    #[error("`{key}` in health is for `http` checks only: remove it")]
    NotForThisCheck {
        /// The key.
        key: &'static str,
    },
    /// A range where a single address belongs.
    #[error("`{key}` in {section} is {text}, which is more than one address: write {wanted}")]
    NotOneAddress {
        /// Where.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What was written.
        text: String,
        /// What was probably meant.
        wanted: String,
    },
    /// Two things share addresses that must not.
    #[error("{one} overlaps {other} (line {line}): {why}")]
    Overlap {
        /// What is here.
        one: String,
        /// What it overlaps.
        other: String,
        /// Where that is.
        line: usize,
        /// Why that is harmful and what to do.
        why: &'static str,
    },
    /// A block size that IPAM cannot use.
    #[error("`block_size` of pool {cidr} is {size}: write {min} to {max}{}", if *.shorter { ", for a block cannot be larger than its pool" } else { "" })]
    BlockSize {
        /// The pool.
        cidr: Prefix,
        /// What was written.
        size: String,
        /// Shortest allowed.
        min: u8,
        /// Longest allowed.
        max: u8,
        /// Whether the pool's own length is the limit.
        shorter: bool,
    },
    /// A label that no selector could name.
    #[error("label {text} in [node] {why}: write a key such as rack or topology.kubernetes.io/zone")]
    LabelKey {
        /// The key.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A label's value that Kubernetes would not take.
    #[error("label {key} in [node] is {text}: write at most 63 letters, digits and _ . -")]
    LabelValue {
        /// The key.
        key: String,
        /// The value.
        text: String,
    },
    /// A label that is no text.
    #[error("label {key} in [node] is {found}: write a string such as \"r1\"")]
    LabelType {
        /// The key.
        key: String,
        /// What it is.
        found: &'static str,
    },
    /// A node selector that cannot be read.
    #[error("`node_selector` of pool {cidr}: {error}; write it as Calico does, such as \"rack == 'r1' && !has(gpu)\"")]
    BadSelector {
        /// The pool.
        cidr: Prefix,
        /// Where within it, and what is wrong there.
        error: petiole_selector::SelectorError,
    },
    /// A pool that has no room for one block.
    #[error("pool {cidr} is smaller than one block of the default size /{default}: write block_size, {min} to {max}")]
    PoolBelowDefaultBlock {
        /// The pool.
        cidr: Prefix,
        /// The default length.
        default: u8,
        /// Shortest allowed.
        min: u8,
        /// Longest allowed.
        max: u8,
    },
    /// Two listeners at one address.
    #[error(
        "`listen` in {section} is {addr}, but {other} listens at {other_addr}: write another port for one of the two"
    )]
    ListenTwice {
        /// Where.
        section: &'static str,
        /// What was written.
        addr: SocketAddr,
        /// Who is there already.
        other: &'static str,
        /// The address of that.
        other_addr: SocketAddr,
    },
}

/// `: did you mean "near"? What follows`, or `; what follows`.
fn suggest(near: &Option<&'static str>, follows: &str) -> String {
    let Some(near) = near else { return format!("; {follows}") };
    let (first, rest) = follows.split_at(follows.len().min(1));
    format!(": did you mean {near:?}? {}{rest}", first.to_ascii_uppercase())
}
