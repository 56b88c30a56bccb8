//! Text to tokens, as BIRD 1.6's lexer (`conf/cf-lex.l`) cuts it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{FilterError, Position};

/// A token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token<'t> {
    /// A keyword or another name.
    Word(&'t str),
    /// An address without its length.
    Address(IpAddr),
    /// A decimal or `0x` hexadecimal number.
    Number(u32),
    /// What stands between double quotes; BIRD knows no escapes there.
    Text(&'t str),
    /// An operator or a sign.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// Cuts the text into tokens with their places; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Position, Token<'_>)>, FilterError> {
    let mut lexer = Lexer { rest: text, at: Position { line: 1, column: 1 } };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let at = lexer.at;
        let token = lexer.next()?;
        let end = token == Token::End;
        tokens.push((at, token));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    rest: &'t str,
    at: Position,
}

impl<'t> Lexer<'t> {
    /// Takes the first `len` bytes; fewer where that would split a character.
    fn take(&mut self, len: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(self.rest.floor_char_boundary(len));
        self.rest = rest;
        match taken.rfind('\n') {
            Some(last) => {
                self.at.line += taken.bytes().filter(|b| *b == b'\n').count();
                self.at.column = taken.get(last + 1..).map_or(0, |tail| tail.chars().count()) + 1;
            }
            None => self.at.column += taken.chars().count(),
        }
        taken
    }

    /// Takes characters as long as they fit.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        self.take(self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len()))
    }

    fn skip_blanks(&mut self) -> Result<(), FilterError> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n'));
            if self.rest.starts_with('#') {
                self.take_while(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                self.skip_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_comment(&mut self) -> Result<(), FilterError> {
        let start = self.at;
        let inner = self.rest.get(2..).unwrap_or_default();
        let Some(end) = inner.find("*/") else {
            return Err(FilterError::new(start, "this comment never ends", "write */ where it does"));
        };
        if let Some(nested) = inner.get(..end).and_then(|body| body.find("/*")) {
            self.take(2 + nested);
            return Err(FilterError::new(self.at, "a comment inside a comment", "BIRD does not nest them: remove it"));
        }
        self.take(2 + end + 2);
        Ok(())
    }

    fn next(&mut self) -> Result<Token<'t>, FilterError> {
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        if let Some(address) = self.address()? {
            return Ok(Token::Address(address));
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.rest.starts_with(sign)) {
            self.take(sign.len());
            return Ok(Token::Sign(sign));
        }
        match first {
            'a'..='z' | 'A'..='Z' | '_' => Ok(Token::Word(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_'))),
            '0'..='9' => self.number(),
            '"' => self.text(),
            '&' | '|' => {
                let expected = format!("write {first}{first}");
                Err(FilterError::new(self.at, format!("a single {first} is no operator"), expected))
            }
            '\r' => Err(FilterError::new(self.at, "a carriage return", "write the value with plain line ends")),
            '\'' => Err(FilterError::new(self.at, "a single quote", "write names in double quotes, such as \"lo\"")),
            other => Err(FilterError::new(self.at, format!("the character {other:?} has no meaning here"), "")),
        }
    }

    /// An address, where one stands: text that an IPv6 address, an IPv4 address, or a mistyped one of them begins with.
    fn address(&mut self) -> Result<Option<IpAddr>, FilterError> {
        let end = self.rest.find(|c: char| !c.is_ascii_hexdigit() && c != ':').unwrap_or(self.rest.len());
        let hex = self.rest.get(..end).unwrap_or_default();
        if hex.contains("::") || hex.matches(':').count() >= 3 {
            let end =
                self.rest.find(|c: char| !c.is_ascii_hexdigit() && !matches!(c, ':' | '.')).unwrap_or(self.rest.len());
            let at = self.at;
            let text = self.take(end);
            let address = text.parse::<Ipv6Addr>().map(IpAddr::V6);
            return address
                .map(Some)
                .map_err(|_| FilterError::new(at, format!("{} is no IPv6 address", cut(text)), ""));
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
        let dotted = self.rest.get(..end).unwrap_or_default();
        if !dotted.starts_with(|c: char| c.is_ascii_digit()) || !dotted.contains('.') {
            return Ok(None);
        }
        let at = self.at;
        let text = self.take(end);
        let address = text.parse::<Ipv4Addr>().map(IpAddr::V4);
        address.map(Some).map_err(|_| FilterError::new(at, format!("{} is no IPv4 address", cut(text)), ""))
    }

    fn number(&mut self) -> Result<Token<'t>, FilterError> {
        let at = self.at;
        let hex = self.rest.strip_prefix("0x").is_some_and(|r| r.starts_with(|c: char| c.is_ascii_hexdigit()));
        let number = if hex {
            self.take(2);
            u32::from_str_radix(self.take_while(|c| c.is_ascii_hexdigit()), 16)
        } else {
            self.take_while(|c| c.is_ascii_digit()).parse()
        };
        number.map(Token::Number).map_err(|_| FilterError::new(at, "this number does not fit into 32 bits", ""))
    }

    fn text(&mut self) -> Result<Token<'t>, FilterError> {
        let at = self.at;
        self.take(1);
        let text = self.take_while(|c| !matches!(c, '"' | '\n'));
        if self.rest.starts_with('"') {
            self.take(1);
            return Ok(Token::Text(text));
        }
        Err(FilterError::new(at, "this string never ends", "write \" before the end of the line"))
    }
}

/// The text, cut where it is too long for a message.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(48) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// Longer signs first: `!=` is not `!` and `=`.
const SIGNS: [&str; 29] = [
    "&&", "||", "!=", "!~", "<=", ">=", "[=", "=]", "=", "{", "}", ":", ";", ",", ".", "(", ")", "+", "*", "/", "%",
    "<", ">", "~", "[", "]", "?", "!", "-",
];
