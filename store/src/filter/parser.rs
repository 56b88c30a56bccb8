//! Tokens to statements, by recursive descent.
//!
//! BIRD's grammar (`filter/config.Y` of 1.6) knows one kind of term and checks types when a route comes along; here a term is
//! an [`Operand`] and types are checked at once.

use std::net::IpAddr;

use petiole_prefix::{Family, Prefix};

use super::lexer::{self, Token, cut};
use super::unsupported;
use super::{Condition, Filter, FilterError, Junction, Lengths, Pattern, Position, Statement};

/// Reads the statements of one value.
pub(super) fn parse(text: &str, family: Family) -> Result<Vec<Statement>, FilterError> {
    if text.len() > Filter::MAX_LEN {
        let message = format!("the text has {} bytes, more than the {} that are read", text.len(), Filter::MAX_LEN);
        return Err(FilterError::new(Position { line: 1, column: 1 }, message, "split it into several keys"));
    }
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), family, depth: 0 };
    let body = parser.statements()?;
    match parser.next() {
        (_, Token::End) => Ok(body),
        (at, _) => Err(FilterError::new(at, "this } closes nothing", "remove it, or open its block with {")),
    }
}

struct Parser<'t> {
    tokens: std::iter::Peekable<std::vec::IntoIter<(Position, Token<'t>)>>,
    family: Family,
    depth: usize,
}

/// A term that is not yet compared with anything.
enum Operand {
    Net,
    Ifname,
    Prefix(Prefix),
    Set(Vec<Pattern>),
    Text(String),
    Condition(Condition),
}

impl Operand {
    const fn name(&self) -> &'static str {
        match self {
            Self::Net => "`net`",
            Self::Ifname => "`ifname`",
            Self::Prefix(_) => "a prefix",
            Self::Set(_) => "a set of prefixes",
            Self::Text(_) => "a string",
            Self::Condition(_) => "a condition",
        }
    }
}

impl<'t> Parser<'t> {
    fn peek(&mut self) -> (Position, Token<'t>) {
        // The lexer always ends with `End`, and nothing takes that but the last call.
        self.tokens.peek().cloned().unwrap_or((Position { line: 1, column: 1 }, Token::End))
    }

    fn next(&mut self) -> (Position, Token<'t>) {
        let next = self.peek();
        if next.1 != Token::End {
            self.tokens.next();
        }
        next
    }

    /// The token after the next one. Copies what is left, so it serves error messages only.
    fn second(&self) -> Option<Token<'t>> {
        self.tokens.clone().nth(1).map(|(_, token)| token)
    }

    fn take(&mut self, wanted: &Token<'_>) -> bool {
        let found = self.peek().1 == *wanted;
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, wanted: &Token<'_>, expected: &str) -> Result<Position, FilterError> {
        let (at, token) = self.peek();
        if token != *wanted {
            return Err(unexpected(at, &token, expected));
        }
        self.next();
        Ok(at)
    }

    /// Runs a step one level deeper. The bound keeps hostile text from exhausting the stack.
    fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, FilterError>) -> Result<T, FilterError> {
        if self.depth == Filter::MAX_DEPTH {
            let message = format!("nested more than {} levels deep", Filter::MAX_DEPTH);
            return Err(FilterError::new(self.peek().0, message, "flatten it with && or several statements"));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// Statements up to a `}` or the end, which stay where they are.
    fn statements(&mut self) -> Result<Vec<Statement>, FilterError> {
        let mut statements = Vec::new();
        while !matches!(self.peek().1, Token::End | Token::Sign("}")) {
            statements.push(self.statement()?);
        }
        Ok(statements)
    }

    fn statement(&mut self) -> Result<Statement, FilterError> {
        let (at, token) = self.peek();
        match token {
            Token::Word("accept") => {
                self.next();
                self.end_of_decision("accept")?;
                Ok(Statement::Accept(at))
            }
            Token::Word("reject") => {
                self.next();
                self.end_of_decision("reject")?;
                Ok(Statement::Reject(at))
            }
            Token::Word("if") => self.deeper(Self::conditional),
            Token::Sign(";") => {
                Err(FilterError::new(at, "a ; without a statement", "BIRD has no empty statement: remove it"))
            }
            Token::Sign("{") => {
                Err(FilterError::new(at, "a block without a condition", "a block follows then or else: remove { and }"))
            }
            Token::Word("else") => {
                let expected = "an else follows the one statement or the block of its then";
                Err(FilterError::new(at, "this else belongs to no if", expected))
            }
            Token::Word(word) => {
                let after = self.second();
                Err(unsupported::statement(at, word, after.as_ref()))
            }
            other => Err(unexpected(at, &other, "expected if, accept or reject")),
        }
    }

    fn end_of_decision(&mut self, word: &str) -> Result<(), FilterError> {
        let (at, token) = self.peek();
        if let Token::Text(_) = token {
            let message = format!("a message after {word} is not supported");
            return Err(FilterError::new(at, message, format!("write {word};")));
        }
        self.expect(&Token::Sign(";"), &format!("expected ; after {word}")).map(drop)
    }

    fn conditional(&mut self) -> Result<Statement, FilterError> {
        let mut arms = Vec::new();
        loop {
            self.expect(&Token::Word("if"), "expected if")?;
            let condition = self.condition()?;
            if self.peek().1 == Token::Sign("{") {
                return Err(FilterError::new(self.peek().0, "the word then is missing", "write then before {"));
            }
            self.expect(&Token::Word("then"), "expected then, && or ||")?;
            arms.push((condition, self.block()?));
            if !self.take(&Token::Word("else")) {
                return Ok(Statement::If { arms, otherwise: None });
            }
            if self.peek().1 != Token::Word("if") {
                let otherwise = Some(self.block()?);
                return Ok(Statement::If { arms, otherwise });
            }
        }
    }

    fn block(&mut self) -> Result<Vec<Statement>, FilterError> {
        if !self.take(&Token::Sign("{")) {
            return Ok(vec![self.deeper(Self::statement)?]);
        }
        let body = self.deeper(Self::statements)?;
        self.expect(&Token::Sign("}"), "expected } or another statement")?;
        Ok(body)
    }

    /// A term that must be a truth value.
    fn condition(&mut self) -> Result<Condition, FilterError> {
        let at = self.peek().0;
        let term = self.deeper(Self::term)?;
        truth(at, term)
    }

    /// Comparisons joined by `&&` and `||`.
    fn term(&mut self) -> Result<Operand, FilterError> {
        let at = self.peek().0;
        let first = self.comparison()?;
        let mut rest: Vec<(Junction, Condition)> = Vec::new();
        loop {
            let junction = match self.peek().1 {
                Token::Sign("&&") => Junction::And,
                Token::Sign("||") => Junction::Or,
                _ if rest.is_empty() => return Ok(first),
                _ => return Ok(Operand::Condition(Condition::Chain { first: Box::new(truth(at, first)?), rest })),
            };
            self.next();
            let at = self.peek().0;
            let operand = self.comparison()?;
            rest.push((junction, truth(at, operand)?));
        }
    }

    /// An operand, or two of them compared.
    fn comparison(&mut self) -> Result<Operand, FilterError> {
        let at = self.peek().0;
        let left = self.operand()?;
        let (sign_at, token) = self.peek();
        let sign = match token {
            Token::Sign(sign @ ("=" | "!=" | "~" | "!~")) => sign,
            other => match unsupported::after_operand(sign_at, &other, matches!(left, Operand::Net)) {
                Some(error) => return Err(error),
                None => return Ok(left),
            },
        };
        self.next();
        match (&left, self.peek()) {
            (_, (at, Token::Sign("="))) => {
                return Err(FilterError::new(at, "one = too many", "BIRD compares with a single ="));
            }
            (Operand::Ifname, (at, Token::Word(word))) if word != "net" && word != "ifname" => {
                let word = cut(word);
                return Err(FilterError::new(at, format!("`{word}` is not in quotes"), format!("write \"{word}\"")));
            }
            _ => {}
        }
        let right = self.operand()?;
        let test = compare(at, left, sign_at, sign, right)?;
        match self.peek() {
            (at, Token::Sign("=" | "!=" | "~" | "!~")) => {
                Err(FilterError::new(at, "a comparison of a comparison", "join two conditions with && or ||"))
            }
            (at, Token::Sign("{")) if matches!(self.second(), Some(Token::Number(_) | Token::Sign(","))) => {
                Err(unsupported::lengths(at, "{m,n}"))
            }
            (at, other) => match unsupported::after_operand(at, &other, false) {
                Some(error) => Err(error),
                None => Ok(Operand::Condition(test)),
            },
        }
    }

    fn operand(&mut self) -> Result<Operand, FilterError> {
        let (at, token) = self.next();
        match token {
            Token::Word("net") => Ok(Operand::Net),
            Token::Word("ifname") => Ok(Operand::Ifname),
            Token::Word("true") => Ok(Operand::Condition(Condition::Constant(true))),
            Token::Word("false") => Ok(Operand::Condition(Condition::Constant(false))),
            Token::Text(text) => Ok(Operand::Text(text.to_owned())),
            Token::Address(address) => self.prefix(at, address).map(Operand::Prefix),
            Token::Sign("[") => self.set().map(Operand::Set),
            Token::Sign("(") => {
                let inner = self.deeper(Self::term)?;
                self.expect(&Token::Sign(")"), "expected ), && or ||")?;
                Ok(inner)
            }
            Token::Sign("!") => match self.deeper(Self::operand)? {
                Operand::Condition(condition) => Ok(Operand::Condition(Condition::Not(Box::new(condition)))),
                other => {
                    let message = format!("! binds tighter than = and ~, so it would negate {} alone", other.name());
                    Err(FilterError::new(at, message, "put the comparison in parentheses, or use != or !~"))
                }
            },
            Token::Word(word) => Err(unsupported::operand(at, word)),
            other => Err(unexpected(at, &other, "expected a condition such as net = 10.0.0.0/8 or ifname ~ \"tap*\"")),
        }
    }

    /// The rest of a prefix whose address was taken.
    fn prefix(&mut self, at: Position, address: IpAddr) -> Result<Prefix, FilterError> {
        if Family::of(address) != self.family {
            let message = format!(
                "{address} is an {} address, but this filter is about {} routes",
                Family::of(address),
                self.family
            );
            let folder = if self.family == Family::V4 { "v6" } else { "v4" };
            return Err(FilterError::new(at, message, format!("keep it in a key under {folder}")));
        }
        if !self.take(&Token::Sign("/")) {
            let host = Prefix::host(address);
            return Err(FilterError::new(
                at,
                format!("{address} has no length"),
                format!("for the single address write {host}"),
            ));
        }
        let len = self.number("expected the prefix's length")?.1;
        let len = u8::try_from(len).unwrap_or(u8::MAX);
        Prefix::new(address, len).map_err(|error| FilterError::new(at, error.to_string(), ""))
    }

    fn number(&mut self, expected: &str) -> Result<(Position, u32), FilterError> {
        match self.next() {
            (at, Token::Number(number)) => Ok((at, number)),
            (at, other) => Err(unexpected(at, &other, expected)),
        }
    }

    /// The rest of a set whose `[` was taken.
    fn set(&mut self) -> Result<Vec<Pattern>, FilterError> {
        let mut patterns = Vec::new();
        loop {
            let (at, token) = self.next();
            let address = match token {
                Token::Address(address) => address,
                Token::Sign("]") if patterns.is_empty() => {
                    return Err(FilterError::new(
                        at,
                        "an empty set",
                        "write at least one prefix, such as [ 10.0.0.0/8+ ]",
                    ));
                }
                Token::Number(_) | Token::Text(_) | Token::Word(_) | Token::Sign("(") => {
                    return Err(FilterError::new(
                        at,
                        "only sets of prefixes are supported",
                        "write one such as [ 10.0.0.0/8+ ]",
                    ));
                }
                other => return Err(unexpected(at, &other, "expected a prefix such as 10.0.0.0/8")),
            };
            let prefix = self.prefix(at, address)?;
            patterns.push(Pattern { prefix, lengths: self.lengths()? });
            match self.next() {
                (_, Token::Sign("]")) => return Ok(patterns),
                (_, Token::Sign(",")) => {}
                (at, other) => return Err(unexpected(at, &other, "expected , or ] or one of + - {m,n}")),
            }
        }
    }

    fn lengths(&mut self) -> Result<Lengths, FilterError> {
        if self.take(&Token::Sign("+")) {
            return Ok(Lengths::OrLonger);
        }
        if self.take(&Token::Sign("-")) {
            return Ok(Lengths::OrShorter);
        }
        if !self.take(&Token::Sign("{")) {
            return Ok(Lengths::Own);
        }
        let (at, low) = self.number("expected the shortest length, a number")?;
        self.expect(&Token::Sign(","), "expected , and the longest length")?;
        let (_, high) = self.number("expected the longest length, a number")?;
        self.expect(&Token::Sign("}"), "expected }")?;
        let max = self.family.max_len();
        match (u8::try_from(low), u8::try_from(high)) {
            (Ok(low), Ok(high)) if low <= high && high <= max => Ok(Lengths::Between(low, high)),
            _ => {
                let expected = format!("write two lengths, the shorter first, neither above {max}");
                Err(FilterError::new(at, format!("{{{low},{high}}} is no range of lengths"), expected))
            }
        }
    }
}

/// Two operands and the sign between them.
fn compare(
    at: Position,
    left: Operand,
    sign_at: Position,
    sign: &str,
    right: Operand,
) -> Result<Condition, FilterError> {
    let (equality, yes) = (matches!(sign, "=" | "!="), matches!(sign, "=" | "~"));
    match (left, equality, right) {
        (Operand::Net, true, Operand::Prefix(prefix)) | (Operand::Prefix(prefix), true, Operand::Net) => {
            Ok(Condition::NetIs(yes, prefix))
        }
        (Operand::Ifname, true, Operand::Text(name)) | (Operand::Text(name), true, Operand::Ifname) => {
            Ok(Condition::IfnameIs(yes, name))
        }
        (Operand::Net, false, Operand::Prefix(prefix)) => Ok(Condition::NetIn(yes, prefix)),
        (Operand::Net, false, Operand::Set(patterns)) => Ok(Condition::NetInSet(yes, patterns)),
        (Operand::Ifname, false, Operand::Text(pattern)) => match star_trouble(&pattern) {
            false => Ok(Condition::IfnameLike(yes, pattern)),
            true => {
                let message = format!(
                    "the pattern \"{}\" has * before * or ?, which BIRD takes as plain characters",
                    cut(&pattern)
                );
                Err(FilterError::new(sign_at, message, "write a single *, or ? before *"))
            }
        },
        (Operand::Net, true, Operand::Set(_)) => {
            let expected = format!("write net {} [ ... ]", if yes { "~" } else { "!~" });
            Err(FilterError::new(sign_at, format!("{sign} compares with one prefix, not with a set"), expected))
        }
        (left, _, right) => {
            let message = format!("{sign} cannot compare {} with {}", left.name(), right.name());
            Err(FilterError::new(
                at,
                message,
                "compare net with a prefix or a set of prefixes, or ifname with a string",
            ))
        }
    }
}

/// BIRD's matcher looks for what follows a `*` character by character, so `**` and `*?` would need a real `*` or `?` there.
fn star_trouble(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' if matches!(chars.peek(), Some('*' | '?')) => return true,
            _ => {}
        }
    }
    false
}

fn truth(at: Position, operand: Operand) -> Result<Condition, FilterError> {
    match operand {
        Operand::Condition(condition) => Ok(condition),
        other => {
            let message = format!("{} alone is no condition", other.name());
            Err(FilterError::new(at, message, "compare it with =, !=, ~ or !~"))
        }
    }
}

fn unexpected(at: Position, token: &Token<'_>, expected: &str) -> FilterError {
    let found = match token {
        Token::Word(word @ ("and" | "or")) => {
            let sign = if *word == "and" { "&&" } else { "||" };
            return FilterError::new(at, format!("BIRD has no word `{word}`"), format!("write {sign}"));
        }
        Token::Word(word) => cut(word),
        Token::Address(address) => address.to_string(),
        Token::Number(number) => number.to_string(),
        Token::Text(text) => format!("\"{}\"", cut(text)),
        Token::Sign("/") => {
            return FilterError::new(at, "unexpected `/`", format!("{expected}; comments are # and /* */"));
        }
        Token::Sign(sign) => (*sign).to_owned(),
        Token::End => return FilterError::new(at, "the text ends here", expected),
    };
    FilterError::new(at, format!("unexpected `{found}`"), expected)
}
