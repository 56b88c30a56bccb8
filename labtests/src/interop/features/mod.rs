//! The table of features; each is one function.

mod graceful;
mod policy;
mod restart;
mod routes;
mod security;
mod session;
mod timers;
mod wireshark;

use anyhow::Result;

use super::scene::Scene;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feature {
    /// As `--only` takes it.
    pub(crate) id: &'static str,
    /// The RFC and its section.
    pub(crate) rfc: &'static str,
    /// What is checked, and by whose word.
    pub(crate) what: &'static str,
    pub(crate) check: fn(&mut Scene) -> Result<()>,
}

const fn feature(
    id: &'static str,
    rfc: &'static str,
    what: &'static str,
    check: fn(&mut Scene) -> Result<()>,
) -> Feature {
    Feature { id, rfc, what, check }
}

/// In the order of the document.
pub(crate) const FEATURES: &[Feature] = &[
    feature(
        "session-ipv4",
        "4271, 4760",
        "one session over IPv4 carries both families: the daemon has the node's routes with the link's next hops, the \
         node's kernel has the leaf's",
        session::over_ipv4,
    ),
    feature("session-ipv6", "4271, 4760", "the same over IPv6", session::over_ipv6),
    feature(
        "four-octet-as",
        "6793",
        "AS 4200000011 stands in the daemon's AS_PATH and OPENs of both sides carry the capability",
        session::four_octet_as,
    ),
    feature(
        "two-octet-peer",
        "6793 4.2.2",
        "a leaf without four-octet AS numbers sees AS_TRANS (23456) and gets its routes into the node's kernel",
        session::two_octet_peer,
    ),
    feature(
        "hold-time",
        "4271 4.2",
        "the lesser of 9 s and 30 s, and of 30 s and 6 s, holds on both sides",
        session::hold_time,
    ),
    feature("leaf-dials", "4271 8.1.1", "the node is passive and the leaf dials", session::leaf_dials),
    feature("node-dials", "4271 8.1.1", "the leaf is passive and the node dials", session::node_dials),
    feature(
        "collision",
        "4271 6.8",
        "both dial; one connection is left, and the session stays up for five seconds",
        session::collision,
    ),
    feature(
        "capabilities",
        "5492",
        "the node names every capability of the leaf's OPEN, and takes those it does not use without complaint",
        session::capabilities,
    ),
    feature(
        "shutdown-text",
        "9003",
        "the leaf ends the session with a text; the node shows it and the daemon's table is empty",
        session::shutdown_text,
    ),
    feature(
        "announce",
        "4271 3.2",
        "both families appear and go in the daemon's table as a health check says",
        routes::announce,
    ),
    feature(
        "learn",
        "4271 3.2",
        "both families appear and go in the node's kernel as the leaf announces and withdraws",
        routes::learn,
    ),
    feature("refresh-asked", "2918", "the leaf asks for a refresh and gets both families again", routes::refresh_asked),
    feature(
        "enhanced-refresh",
        "7313",
        "what the leaf asked for comes between a beginning and an end, for both families",
        routes::enhanced_refresh,
    ),
    feature(
        "extended-messages",
        "8654",
        "both OPENs have the capability, and 5,000 prefixes in whatever messages get into the node's kernel",
        routes::extended_messages,
    ),
    feature("end-of-rib-sent", "4724 2", "the node marks the end of both families", routes::end_of_rib_sent),
    feature(
        "end-of-rib-received",
        "4724 2",
        "the leaf marks the end of both families and the node knows it",
        routes::end_of_rib_received,
    ),
    feature(
        "multipath",
        "4271 9.1",
        "two sessions give the same prefixes; the node's kernel has both next hops",
        routes::multipath,
    ),
    feature(
        "default-refused",
        "8212",
        "a default route of the leaf is received, refused with a reason, and not in the kernel",
        routes::default_refused,
    ),
    feature(
        "bulk",
        "4271 4.3",
        "5,000 prefixes get into the node's kernel, and out again when the session ends",
        routes::bulk,
    ),
    feature(
        "restart-of-node",
        "4724 4.1",
        "the agent is killed and started again: the daemon never loses its routes, and the new OPEN has R and F",
        restart::of_node,
    ),
    feature(
        "graceful-restart-of-leaf",
        "4724 4.2",
        "the daemon is killed and started as one that restarts: the node's kernel keeps its routes and never deletes one, until \
         End-of-RIB; then what did not return goes",
        graceful::of_leaf,
    ),
    feature(
        "notification-gr",
        "8538",
        "both OPENs have the N bit; over a plain NOTIFICATION of either side the other one keeps the routes; after a Hard Reset \
         of either side they go",
        graceful::notification,
    ),
    feature(
        "long-lived-gr",
        "9494",
        "the daemon is killed for longer than its restart time of 2 s: the node's kernel keeps the routes, which are shown with \
         LLGR_STALE, for the 6 s of the long-lived stale time, and no longer",
        graceful::long_lived,
    ),
    feature(
        "leaf-crash",
        "4271 8.2.2",
        "the daemon is killed without graceful restart: its routes leave the node's kernel, and come back with it",
        restart::leaf_crash,
    ),
    feature(
        "leaf-reset",
        "4486",
        "the leaf resets the session by a NOTIFICATION; it comes up anew and the routes are there",
        restart::leaf_reset,
    ),
    feature(
        "bfd",
        "5880, 5882",
        "100 ms, three times: after the link is cut silently the node's kernel has none of the leaf's routes within 3 s",
        restart::bfd,
    ),
    feature(
        "graceful-shutdown",
        "8326",
        "a drain puts the community GRACEFUL_SHUTDOWN on both families in the daemon's table, its end takes it off",
        routes::graceful_shutdown,
    ),
    feature(
        "max-prefix",
        "4486",
        "beyond the node's limit the session ends with Cease, Maximum Number of Prefixes Reached",
        session::max_prefix,
    ),
    feature(
        "shutdown-text-sent",
        "9003",
        "the node ends the session by an Administrative Shutdown with a text, and starts it again",
        session::shutdown_text_sent,
    ),
    feature(
        "md5",
        "2385",
        "with one key the session comes up and every packet that carries data is signed; with two keys it never does",
        security::md5,
    ),
    feature("gtsm", "5082", "both sides ask for it, and every packet that carries data has TTL 255", security::gtsm),
    feature(
        "gtsm-refused",
        "5082",
        "the leaf's packets come with TTL 254: no session and no data, though it dials too; with 255 the session comes up",
        security::gtsm_refused,
    ),
    feature(
        "hold-expiry",
        "4271 6.5",
        "what the leaf sends is dropped silently: the node says Hold Timer Expired, and in words that the peer was silent; the \
         node stands still: the leaf's Hold Timer Expired is shown, and that we were late",
        timers::hold_expiry,
    ),
    feature(
        "delay-open",
        "4271 8.1.1",
        "with an OPEN that waits for up to 20 s the leaf's comes first, and the session is up at once",
        timers::delay_open,
    ),
    feature(
        "roles",
        "9234",
        "the leaf is Provider and the node Customer in their OPENs, and what is learned has OTC; the role Peer is refused with \
         Role Mismatch, and the node says so in words",
        policy::roles,
    ),
    feature(
        "add-path-receive",
        "7911",
        "not in the node's OPEN until configured; then the node shows several paths of one prefix, each with its identifier",
        policy::several_paths,
    ),
    feature(
        "communities-kept",
        "1997, 8092, 4360",
        "a standard, a large and an extended community of the leaf's routes are shown by the node",
        policy::communities_kept,
    ),
    feature(
        "communities-announced",
        "1997, 8092, 4360",
        "a standard, a large and an extended community of the node's configuration are in the daemon's table, both families",
        policy::communities_announced,
    ),
    feature(
        "unnumbered",
        "8950",
        "no addresses on the link: the node finds the leaf, and both families have link-local next hops in both tables",
        session::unnumbered,
    ),
    feature(
        "wireshark",
        "4271",
        "tshark decodes all that the node sent: OPEN, announcements with and without a community, withdrawals, End-of-RIB, \
         KEEPALIVE, NOTIFICATION; nothing is malformed and nothing earns an expert's remark",
        wireshark::decodes,
    ),
];
