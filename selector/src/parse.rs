//! From text to terms. Total: any text gives a selector or says where it cannot be read, and none makes it go deep.

use std::collections::BTreeSet;

use crate::{Term, Test};

/// How deep parentheses may stand in each other.
const DEEPEST: usize = 32;

/// Why a text is no selector.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("column {column}: {wrong}")]
pub struct SelectorError {
    /// Where, counted in characters from 1; one past the end where something is missing there.
    pub column: usize,
    /// What is expected, and what stands there.
    pub wrong: String,
}

pub(crate) fn selector(text: &str) -> Result<Term, SelectorError> {
    let mut parser = Parser { text, rest: text, depth: 0 };
    parser.skip_space();
    if parser.rest.is_empty() {
        return Ok(Term::All);
    }
    let term = parser.or()?;
    if !parser.rest.is_empty() {
        return Err(parser.expected("&&, || or the end"));
    }
    Ok(term)
}

struct Parser<'a> {
    text: &'a str,
    /// What is not read yet; begins with no space.
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Term, SelectorError> {
        let mut terms = vec![self.and()?];
        while self.take("||") {
            terms.push(self.and()?);
        }
        Ok(one_or(terms, Term::Or))
    }

    fn and(&mut self) -> Result<Term, SelectorError> {
        let mut terms = vec![self.term()?];
        while self.take("&&") {
            terms.push(self.term()?);
        }
        Ok(one_or(terms, Term::And))
    }

    fn term(&mut self) -> Result<Term, SelectorError> {
        let mut negated = false;
        while !self.rest.starts_with("!=") && self.take("!") {
            negated = !negated;
        }
        let term = self.plain()?;
        Ok(if negated { Term::Not(Box::new(term)) } else { term })
    }

    fn plain(&mut self) -> Result<Term, SelectorError> {
        if self.rest.starts_with('(') {
            if self.depth == DEEPEST {
                return Err(self.error(format!("parentheses stand in each other more than {DEEPEST} deep")));
            }
            self.take("(");
            self.depth += 1;
            let term = self.or()?;
            self.depth -= 1;
            self.must(")", "&&, || or )")?;
            return Ok(term);
        }
        let Some(key) = self.key() else {
            return Err(self.expected("a key, has(KEY), all(), global(), ! or ("));
        };
        if self.rest.starts_with('(') {
            return self.call(key);
        }
        self.skip_space();
        Ok(Term::Test(key.to_owned(), self.test(key)?))
    }

    /// `has(KEY)`, `all()` or `global()`; the parenthesis follows at once.
    fn call(&mut self, name: &'a str) -> Result<Term, SelectorError> {
        if !matches!(name, "has" | "all" | "global") {
            self.back(name);
            return Err(self.error(format!("{name}() is not known: has(KEY), all() and global() are")));
        }
        self.take("(");
        let term = match name {
            "has" => {
                let key = self.key().ok_or_else(|| self.expected("a key"))?;
                self.skip_space();
                Term::Has(key.to_owned())
            }
            "all" => Term::All,
            _ => Term::Global,
        };
        self.must(")", ")")?;
        Ok(term)
    }

    fn test(&mut self, key: &str) -> Result<Test, SelectorError> {
        if self.take("==") {
            return Ok(Test::Is(self.quoted()?));
        }
        if self.take("!=") {
            return Ok(Test::IsNot(self.quoted()?));
        }
        if self.words(&["in"]) {
            return Ok(Test::In(self.set()?));
        }
        if self.words(&["not", "in"]) {
            return Ok(Test::NotIn(self.set()?));
        }
        if self.words(&["contains"]) {
            return Ok(Test::Contains(self.quoted()?));
        }
        if self.words(&["starts", "with"]) {
            return Ok(Test::StartsWith(self.quoted()?));
        }
        if self.words(&["ends", "with"]) {
            return Ok(Test::EndsWith(self.quoted()?));
        }
        let wanted = format!("==, !=, in, not in, contains, starts with or ends with after {key}");
        Err(self.expected(&wanted))
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.must("{", "{")?;
        let mut set = BTreeSet::new();
        if self.take("}") {
            return Ok(set);
        }
        loop {
            set.insert(self.quoted()?);
            if self.take("}") {
                return Ok(set);
            }
            self.must(",", ", or }")?;
        }
    }

    fn quoted(&mut self) -> Result<String, SelectorError> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else { return Err(self.expected("a text in quotes")) };
        let inside = self.rest.get(1..).unwrap_or_default();
        let Some((text, rest)) = inside.split_once(quote) else {
            return Err(self.error(format!("the text that begins here has no {quote} at its end")));
        };
        self.rest = rest;
        self.skip_space();
        Ok(text.to_owned())
    }

    /// A key, without what follows it.
    fn key(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_of_key(c)).unwrap_or(self.rest.len());
        let (key, rest) = self.rest.split_at_checked(end)?;
        if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.rest = rest;
        Some(key)
    }

    /// Words with space between them, if they are next.
    fn words(&mut self, words: &[&str]) -> bool {
        let before = self.rest;
        for word in words {
            let Some(rest) = self.rest.strip_prefix(word).filter(|rest| !rest.starts_with(is_of_key)) else {
                self.rest = before;
                return false;
            };
            self.rest = rest;
            self.skip_space();
        }
        true
    }

    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        self.skip_space();
        true
    }

    fn must(&mut self, token: &str, wanted: &str) -> Result<(), SelectorError> {
        if self.take(token) { Ok(()) } else { Err(self.expected(wanted)) }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a word back that was read just now.
    fn back(&mut self, word: &str) {
        let read = self.text.len() - self.rest.len();
        self.rest = self.text.get(read.saturating_sub(word.len())..).unwrap_or_default();
    }

    fn expected(&self, wanted: &str) -> SelectorError {
        let found = match self.rest.chars().next() {
            None => "the text ends".to_owned(),
            Some(c) => {
                let end = self.rest.find(|c| !is_of_key(c)).unwrap_or(self.rest.len());
                let word: String = self.rest.get(..end).unwrap_or_default().chars().take(40).collect();
                format!("{:?} stands there", if word.is_empty() { c.to_string() } else { word })
            }
        };
        self.error(format!("{wanted} is expected, and {found}"))
    }

    fn error(&self, wrong: String) -> SelectorError {
        let read = self.text.len() - self.rest.len();
        let column = self.text.get(..read).unwrap_or_default().chars().count() + 1;
        SelectorError { column, wrong }
    }
}

fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

/// The only term, or all of them joined.
fn one_or(mut terms: Vec<Term>, join: impl FnOnce(Vec<Term>) -> Term) -> Term {
    match (terms.pop(), terms.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            terms.extend(last);
            join(terms)
        }
    }
}
