//! From bytes to routes: Petiole's speaker beside BIRD, both fed the same half million prefixes by the same leaves.

mod contest;
mod counting;
mod feed;
mod picture;
mod receiver;
mod report;
#[cfg(test)]
mod tests;

use std::thread;

use anyhow::{Result, anyhow};
use serde::Serialize;

use self::contest::{Link, Step, Who};
use self::feed::{Leaf, Shape};

pub use counting::Counting;
pub(crate) use picture::svg;
pub use receiver::run as receive;
pub(crate) use report::{METHOD, document, passed, ratios, table};

/// Prefixes of a feed.
pub(crate) const PREFIXES: u32 = 500_000;

/// What a round does to a receiver, in this order.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    /// The first leaf's feed.
    pub(crate) first: Step,
    /// The same prefixes from the second leaf.
    pub(crate) second: Step,
    /// The first leaf's feed once more, unchanged.
    pub(crate) again: Step,
    /// The first leaf is lost.
    pub(crate) lost: Step,
}

/// Both receivers, one right after the other.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    pub(crate) petiole: Run,
    pub(crate) bird: Run,
}

/// What came out of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub(crate) uniform: Vec<Round>,
    pub(crate) mixed: Vec<Round>,
}

/// Measures. `tell` hears how far it is.
pub(crate) fn run(rounds: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<Outcome> {
    // The link puts the thread into another network namespace; this one must stay where it is.
    thread::scope(|scope| {
        let bench = scope.spawn(|| {
            let link = Link::new()?;
            let uniform = contest(&link, Shape::Uniform, rounds, tell)?;
            let mixed = contest(&link, Shape::Mixed, rounds.div_ceil(3), tell)?;
            anyhow::Ok(Outcome { uniform, mixed })
        });
        bench.join().map_err(|_| anyhow!("the bench panicked"))?
    })
}

fn contest(link: &Link, shape: Shape, rounds: u32, tell: &(dyn Fn(&str) + Sync)) -> Result<Vec<Round>> {
    let feeds = Leaf::BOTH.map(|leaf| shape.encode(leaf, PREFIXES));
    let one = |who| one(link, who, &feeds);
    (0..rounds)
        .map(|number| {
            tell(&format!("{shape:?} feed, round {} of {rounds}", number + 1));
            // Who is first takes turns, so that what the machine does meanwhile favours nobody.
            if number % 2 == 0 {
                let petiole = one(Who::Petiole)?;
                Ok(Round { petiole, bird: one(Who::Bird)? })
            } else {
                let bird = one(Who::Bird)?;
                Ok(Round { petiole: one(Who::Petiole)?, bird })
            }
        })
        .collect()
}

fn one(link: &Link, who: Who, feeds: &[Vec<u8>; 2]) -> Result<Run> {
    let all = u64::from(PREFIXES);
    let [first, second] = Leaf::BOTH;
    let mut receiver = link.start(who)?;
    Ok(Run {
        first: receiver.feed(first, &feeds[0], |p| p.paths == all)?,
        second: receiver.feed(second, &feeds[1], |p| p.paths == 2 * all)?,
        again: receiver.feed(first, &feeds[0], |p| p.announced == 3 * all)?,
        lost: receiver.lose(first, |p| p.paths == all)?,
    })
}
