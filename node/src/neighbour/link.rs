//! One unnumbered link.

use std::net::Ipv6Addr;
use std::time::Duration;

use petiole_dataplane::LinkIndex;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::LinkSysctls;
use super::packet::{self, ALL_NODES, ALL_ROUTERS, Advertisement, Message};

/// Advertisements that go out fast, and the time between them, so that a link that came up has its session at once. Faster than
/// RFC 4861's one in three seconds; RFC 6275 section 7.5 allows it.
const FAST: u32 = 4;
const FAST_INTERVAL: Duration = Duration::from_secs(1);
/// `MinRtrAdvInterval` and `MaxRtrAdvInterval` (RFC 4861 section 6.2.1): the least that it allows.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(4));
/// `MAX_RA_DELAY_TIME` (section 10): an answer to a solicitation waits for up to that.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Answers to solicitations are that far apart at least.
const ANSWER_GAP: Duration = Duration::from_millis(250);
/// The first wait between two solicitations; it doubles up to the second (as in RFC 7559).
const SOLICIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// A neighbour that was silent for so long is asked to advertise itself again.
const ASK_AFTER: Duration = Duration::from_secs(25);
/// A neighbour that was silent for so long is none, unless its session is Established.
const FORGET_AFTER: Duration = Duration::from_secs(40);
/// Within that, a router answers a solicitation: `MIN_DELAY_BETWEEN_RAS` plus `MAX_RA_DELAY_TIME`, and half a second.
const CONTEST: Duration = Duration::from_secs(4);
/// `MAX_RTR_SOLICITATIONS` (section 10): so many without an answer are worth a word.
const UNANSWERED: u32 = 3;
/// Routers that are remembered on one link: more than anybody means to have, less than a flood.
const ROUTERS: usize = 8;

/// A router that was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Router {
    addr: Ipv6Addr,
    first: Duration,
    last: Duration,
    said: Advertisement,
}

/// Who is at the other end of one link.
#[derive(Debug)]
pub(super) struct Discovery {
    /// The interface, where it exists.
    pub(super) link: Option<LinkIndex>,
    /// Our address, while the link is up.
    local: Option<Ipv6Addr>,
    pub(super) neighbour: Option<Ipv6Addr>,
    pub(super) sysctls: LinkSysctls,
    pub(super) trouble: String,
    established: bool,
    routers: Vec<Router>,
    /// Since when another router than the neighbour has been heard while the neighbour was silent.
    contested: Option<Duration>,
    advertise_at: Option<Duration>,
    advertised: u32,
    /// Who solicited, and when the answer is due.
    answer: Option<(Duration, Ipv6Addr)>,
    answered: Option<Duration>,
    solicit_at: Option<Duration>,
    solicited: u32,
    rng: ChaCha8Rng,
}

impl Discovery {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            link: None,
            local: None,
            neighbour: None,
            sysctls: LinkSysctls::default(),
            trouble: String::new(),
            established: false,
            routers: Vec::new(),
            contested: None,
            advertise_at: None,
            advertised: 0,
            answer: None,
            answered: None,
            solicit_at: None,
            solicited: 0,
            rng: ChaCha8Rng::from_seed(seed),
        }
    }

    /// The interface's index, and our address while it is up. Says, as all that follow, whether the neighbour changed.
    pub(super) fn set_link(&mut self, link: Option<LinkIndex>, local: Option<Ipv6Addr>, now: Duration) -> bool {
        if self.link != link {
            self.trouble.clear();
            self.sysctls = LinkSysctls::default();
        }
        if self.link == link && self.local == local {
            return false;
        }
        let same_link = self.link == link && self.local.is_some() && local.is_some();
        (self.link, self.local) = (link, local);
        (self.advertise_at, self.solicit_at) = (local.map(|_| now), local.map(|_| now));
        (self.advertised, self.solicited) = (0, 0);
        self.answer = None;
        if same_link {
            // Only our own address is another: the neighbour is where it was.
            return false;
        }
        // What was heard before the link went down says nothing about who is there now.
        self.routers.clear();
        self.contested = None;
        self.choose(None)
    }

    pub(super) fn set_established(&mut self, established: bool, now: Duration) -> bool {
        if self.established == established {
            return false;
        }
        self.established = established;
        self.review(now)
    }

    pub(super) fn heard(&mut self, from: Ipv6Addr, message: Message, now: Duration) -> bool {
        let Some(local) = self.local.filter(|local| *local != from) else { return false };
        match message {
            Message::Solicitation => {
                let due = self.answered.map_or(now, |at| at + ANSWER_GAP).max(now) + self.up_to(ANSWER_WITHIN);
                // One that has no address yet, or two at once, are answered to all.
                let to = if from.is_unicast_link_local() && from != local { from } else { ALL_NODES };
                self.answer = match self.answer {
                    None => Some((due, to)),
                    Some((at, other)) => Some((at, if other == to { to } else { ALL_NODES })),
                };
                false
            }
            Message::Advertisement(said) => {
                match self.routers.iter_mut().find(|r| r.addr == from) {
                    Some(router) => (router.last, router.said) = (now, said),
                    None => self.remember(Router { addr: from, first: now, last: now, said }),
                }
                if self.neighbour == Some(from) {
                    self.contested = None;
                } else if self.neighbour.is_some() && self.contested.is_none() {
                    // Is the neighbour still there? One that is answers.
                    self.contested = Some(now);
                    self.solicit_at = Some(now);
                    self.solicited = 0;
                }
                self.review(now)
            }
        }
    }

    /// A flood of made-up routers pushes itself out, and never the neighbour.
    fn remember(&mut self, router: Router) {
        if self.routers.len() >= ROUTERS {
            let neighbour = self.neighbour;
            let others = self.routers.iter().enumerate().filter(|(_, r)| Some(r.addr) != neighbour);
            if let Some((oldest, _)) = others.min_by_key(|(_, r)| r.last) {
                self.routers.swap_remove(oldest);
            }
        }
        self.routers.push(router);
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) -> bool {
        self.review(now)
    }

    /// Forgets who was silent for too long, and decides who the neighbour is.
    fn review(&mut self, now: Duration) -> bool {
        let (neighbour, established) = (self.neighbour, self.established);
        let kept = |r: &Router| established && Some(r.addr) == neighbour;
        self.routers.retain(|r| kept(r) || now < r.last + FORGET_AFTER);
        if established && neighbour.is_some() {
            return false;
        }
        let lost = self.contested.is_some_and(|since| now >= since + CONTEST);
        if lost {
            // Another one is there, and the neighbour did not answer: it is that one now.
            self.routers.retain(|r| Some(r.addr) != neighbour);
        }
        if self.routers.iter().any(|r| Some(r.addr) == neighbour) {
            return false;
        }
        let heir = self.routers.iter().max_by_key(|r| r.last).map(|r| r.addr);
        self.choose(heir)
    }

    fn choose(&mut self, neighbour: Option<Ipv6Addr>) -> bool {
        self.contested = None;
        std::mem::replace(&mut self.neighbour, neighbour) != neighbour
    }

    /// The next message that is due.
    pub(super) fn poll_message(&mut self, now: Duration) -> Option<(Ipv6Addr, Vec<u8>)> {
        self.local?;
        if self.advertise_at.is_some_and(|at| at <= now) {
            self.advertised = self.advertised.saturating_add(1);
            let (least, most) = INTERVAL;
            let wait = if self.advertised < FAST { FAST_INTERVAL } else { least + self.up_to(most - least) };
            self.advertise_at = Some(now + wait);
            return Some((ALL_NODES, packet::advertisement()));
        }
        if let Some((_, to)) = self.answer.take_if(|(at, _)| *at <= now) {
            self.answered = Some(now);
            return Some((to, packet::advertisement()));
        }
        if self.solicit_at().is_some_and(|at| at <= now) {
            let (least, most) = SOLICIT;
            let wait = least.saturating_mul(1 << self.solicited.min(8)).min(most);
            self.solicited = self.solicited.saturating_add(1);
            self.solicit_at = Some(now + wait - self.up_to(wait / 8));
            return Some((ALL_ROUTERS, packet::solicitation()));
        }
        None
    }

    /// When to solicit: while there is no neighbour, while another claims its place, and when it was silent for long.
    fn solicit_at(&self) -> Option<Duration> {
        let at = self.solicit_at?;
        let neighbour = self.routers.iter().find(|r| Some(r.addr) == self.neighbour);
        match neighbour {
            Some(router) if self.contested.is_none() => Some(at.max(router.last + ASK_AFTER)),
            Some(_) | None => Some(at),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.local?;
        let contest = self.contested.filter(|_| !self.established).map(|since| since + CONTEST);
        let neighbour = self.neighbour.filter(|_| self.established);
        let forget = self.routers.iter().filter(|r| Some(r.addr) != neighbour).map(|r| r.last + FORGET_AFTER).min();
        [self.advertise_at, self.answer.map(|(at, _)| at), self.solicit_at(), contest, forget]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn why_none(&self) -> &'static str {
        match (self.link, self.local) {
            (None, _) => "there is no such interface",
            (_, None) => "the link is down",
            _ => {
                "none heard yet; let the leaf send router advertisements on its end of the link (FRR does on an interface that is \
                 a neighbour)"
            }
        }
    }

    pub(super) fn problems(&self, name: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.trouble.is_empty() {
            problems.push(format!("router discovery on {name}: {}", self.trouble));
        }
        let Some(used) = self.routers.iter().find(|r| Some(r.addr) == self.neighbour) else {
            if self.local.is_some() && self.solicited >= UNANSWERED {
                problems.push(format!("no neighbour on {name}: {}", self.why_none()));
            }
            return problems;
        };
        // The one that was there before and is silent since is no second one.
        if let Some(other) = self.routers.iter().find(|r| r.addr != used.addr && used.last > r.first) {
            problems.push(format!(
                "two routers advertise themselves on {name}, {} and {}: an unnumbered link has one leaf at its other end; the first is \
                 spoken to; give the leaf by [[bgp.peer]] address, or take the other router off the link",
                used.addr, other.addr
            ));
        }
        let harmful = |r: &&Router| !r.said.router_lifetime.is_zero() || r.said.autonomous_prefix;
        if let Some(router) = self.routers.iter().find(harmful).filter(|_| self.sysctls.heeds_routers()) {
            problems.push(format!(
                "{} offers itself on {name} as a default router or a prefix for addresses, and the kernel takes that: set \
                 net.ipv6.conf.{name}.accept_ra = 0",
                router.addr
            ));
        }
        problems
    }

    /// A random time below `limit`.
    fn up_to(&mut self, limit: Duration) -> Duration {
        limit / 256 * (self.rng.next_u32() >> 24)
    }
}
