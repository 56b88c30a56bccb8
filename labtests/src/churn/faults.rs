//! What befalls members and agents: drawn from the seed, one thing at a time for each of them, several at once over all.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::book::Book;
use super::cluster::{Cluster, Place};
use super::random::Random;
use super::{RESTING, Rest};
use crate::Signal;

/// Time between two faults, in milliseconds.
const EVERY: (u64, u64) = (300, 2500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Pause,
    /// Nothing reaches it from the others, and what it says does: transactions are carried out and their outcome is lost.
    Deaf,
    Cut,
    /// An agent loses one member; a member the other members.
    CutFromOne,
}

#[derive(Debug)]
struct Fault<'a> {
    kind: Kind,
    place: &'a Place,
    is_member: bool,
    until: Instant,
}

/// The faults of a run.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    cluster: &'a Cluster,
    book: &'a Book,
    random: Random,
    now: Vec<Fault<'a>>,
    next: Instant,
    rest: Option<Rest>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(cluster: &'a Cluster, book: &'a Book, seed: u64, rest: Option<Rest>) -> Self {
        Self { cluster, book, random: Random::new(seed, 1), now: Vec::new(), next: Instant::now(), rest }
    }

    /// Ends what is over and begins what is due.
    pub(super) fn turn(&mut self) -> Result<()> {
        let now = Instant::now();
        self.end(|fault| fault.until <= now)?;
        if self.next <= now {
            self.next = now + Duration::from_millis(self.random.between(EVERY.0, EVERY.1));
            self.begin(now)?;
        }
        Ok(())
    }

    /// Everything heals.
    pub(super) fn heal(&mut self) -> Result<()> {
        self.end(|_| true)
    }

    fn begin(&mut self, now: Instant) -> Result<()> {
        let is_member = self.random.percent(35);
        let (places, most) = if is_member {
            // Mostly a majority is left, but not always.
            (&self.cluster.members, if self.random.percent(15) { 2 } else { 1 })
        } else {
            (&self.cluster.agents, 4)
        };
        let hit = self.now.iter().filter(|f| f.is_member == is_member).count();
        let Some(place) = self.random.pick(places) else { return Ok(()) };
        if hit >= most || self.now.iter().any(|f| f.place.name == place.name) {
            return Ok(());
        }
        let kinds = [Kind::Kill, Kind::Kill, Kind::Pause, Kind::Deaf, Kind::Cut, Kind::CutFromOne];
        let mut kind = self.random.pick(&kinds).copied().unwrap_or(Kind::Kill);
        // Each life of an agent counts anew how long a block has been empty.
        let is_at_rest = self.rest.is_some_and(|rest| rest.is_now())
            && self.cluster.agents.iter().take(RESTING).any(|agent| agent.name == place.name);
        if kind == Kind::Kill && is_at_rest {
            kind = Kind::Pause;
        }
        let millis = match (kind, is_member) {
            (Kind::Kill, _) => self.random.between(0, 2500),
            (_, true) => self.random.between(500, 6000),
            (_, false) => self.random.between(300, 12_000),
        };
        let members: Vec<&str> = self.cluster.members.iter().map(|m| m.address.as_str()).collect();
        let others: Vec<&str> = members.iter().copied().filter(|m| *m != place.address).collect();
        let all: Vec<&str> =
            others.iter().copied().chain(self.cluster.agents.iter().map(|a| a.address.as_str())).collect();
        let heard = if is_member { &all } else { &members };
        match kind {
            Kind::Kill => place.kill()?,
            Kind::Pause => place.signal(Signal::STOP),
            Kind::Deaf => place.cut(heard, false)?,
            Kind::Cut => place.cut(heard, true)?,
            Kind::CutFromOne if is_member => place.cut(&others, true)?,
            Kind::CutFromOne => {
                let one = self.random.pick(&members).copied();
                place.cut(&one.into_iter().collect::<Vec<_>>(), true)?;
            }
        }
        *self.book.pages().faults.entry(words(kind, is_member)).or_default() += 1;
        self.now.push(Fault { kind, place, is_member, until: now + Duration::from_millis(millis) });
        Ok(())
    }

    fn end(&mut self, is_over: impl Fn(&Fault<'_>) -> bool) -> Result<()> {
        for fault in self.now.extract_if(.., |fault| is_over(fault)) {
            match fault.kind {
                Kind::Kill => fault.place.start()?,
                Kind::Pause => fault.place.signal(Signal::CONT),
                Kind::Deaf | Kind::Cut | Kind::CutFromOne => fault.place.heal()?,
            }
        }
        Ok(())
    }
}

const fn words(kind: Kind, is_member: bool) -> &'static str {
    match (kind, is_member) {
        (Kind::Kill, true) => "member killed",
        (Kind::Kill, false) => "agent killed",
        (Kind::Pause, true) => "member paused",
        (Kind::Pause, false) => "agent paused",
        (Kind::Deaf, true) => "member hears nobody",
        (Kind::Deaf, false) => "agent hears no member",
        (Kind::Cut, true) => "member cut off",
        (Kind::Cut, false) => "agent cut off",
        (Kind::CutFromOne, true) => "member cut off from members",
        (Kind::CutFromOne, false) => "agent cut off from one member",
    }
}
