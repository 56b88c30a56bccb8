//! Statements and a candidate to a verdict.

use petiole_prefix::Prefix;

use super::{Candidate, Condition, Filter, Junction, Lengths, Outcome, Pattern, Statement, Verdict};

impl Filter {
    /// Runs the statements over a candidate, as BIRD runs the body of a function: the first `accept` or `reject` that is
    /// reached ends it.
    ///
    /// A candidate of the other family falls through whatever the statements say: BIRD runs each family in a daemon of its
    /// own, so `net != 127.0.0.0/8` says nothing about IPv6.
    #[must_use]
    pub fn evaluate(&self, candidate: &Candidate<'_>) -> Outcome {
        let decision = if candidate.net.family() == self.family { run(&self.body, candidate) } else { None };
        decision.unwrap_or(Outcome { verdict: Verdict::FallThrough, at: None })
    }
}

fn run(statements: &[Statement], candidate: &Candidate<'_>) -> Option<Outcome> {
    statements.iter().find_map(|statement| match statement {
        Statement::Accept(at) => Some(Outcome { verdict: Verdict::Accept, at: Some(*at) }),
        Statement::Reject(at) => Some(Outcome { verdict: Verdict::Reject, at: Some(*at) }),
        Statement::If { arms, otherwise } => match arms.iter().find(|(condition, _)| condition.holds(candidate)) {
            Some((_, block)) => run(block, candidate),
            None => otherwise.as_ref().and_then(|block| run(block, candidate)),
        },
    })
}

impl Condition {
    /// Whether it is true of the candidate.
    #[must_use]
    pub fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let (net, ifname) = (candidate.net, candidate.ifname.unwrap_or_default());
        match self {
            Self::Constant(value) => *value,
            Self::Not(inner) => !inner.holds(candidate),
            Self::Chain { first, rest } => {
                rest.iter().fold(first.holds(candidate), |left, (junction, right)| match junction {
                    Junction::And => left && right.holds(candidate),
                    Junction::Or => left || right.holds(candidate),
                })
            }
            Self::NetIs(yes, prefix) => (net == *prefix) == *yes,
            Self::NetIn(yes, prefix) => prefix.contains(&net) == *yes,
            Self::NetInSet(yes, patterns) => patterns.iter().any(|pattern| pattern.matches(&net)) == *yes,
            Self::IfnameIs(yes, name) => (ifname == name) == *yes,
            Self::IfnameLike(yes, pattern) => like(pattern, ifname) == *yes,
        }
    }
}

impl Pattern {
    /// Whether the net is one of those meant: its first bits, as many as both have, are the pattern's, and its length is in
    /// range (`filter/trie.c` of BIRD 1.6).
    #[must_use]
    pub fn matches(&self, net: &Prefix) -> bool {
        let (low, high) = self.range();
        (low..=high).contains(&net.len()) && self.prefix.overlaps(net)
    }

    /// The shortest and the longest length that match.
    #[must_use]
    pub const fn range(&self) -> (u8, u8) {
        match self.lengths {
            Lengths::Own => (self.prefix.len(), self.prefix.len()),
            Lengths::OrLonger => (self.prefix.len(), self.prefix.family().max_len()),
            Lengths::OrShorter => (0, self.prefix.len()),
            Lengths::Between(low, high) => (low, high),
        }
    }
}

/// Whether a text matches a shell-like pattern. Linear in the text for each `*`: only the last `*` is ever tried again.
fn like(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on when a character does not fit: after the last `*`, with one more character given to it.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let fits = match (pattern.next(), text.clone().next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((pattern.clone(), text.clone()));
                continue;
            }
            (Some('?'), Some(_)) => true,
            // A last backslash stands for itself.
            (Some('\\'), Some(found)) => pattern.next().unwrap_or('\\') == found,
            (Some(wanted), Some(found)) => wanted == found,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if fits {
            text.next();
            continue;
        }
        let Some((after_star, mut given)) = retry else { return false };
        if given.next().is_none() {
            return false;
        }
        (pattern, text) = (after_star.clone(), given.clone());
        retry = Some((after_star, given));
    }
}
