//! As much of a URL as the configuration needs to judge one: scheme, host, port. The connection itself is the drivers' work.

/// A checked `http` or `https` URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Url<'a> {
    /// Whether the scheme is `https`.
    pub(crate) https: bool,
    /// Host and port as written.
    pub(crate) authority: &'a str,
    /// The port, if one was written.
    pub(crate) port: Option<u16>,
    /// Path and query, from the first `/`; may be empty.
    pub(crate) path: &'a str,
}

impl<'a> Url<'a> {
    /// Splits the text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
            return Err("a URL has no spaces, control or non-ASCII characters");
        }
        let (https, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err("the scheme must be http or https"),
            None => return Err("the scheme is missing"),
        };
        if rest.contains('#') {
            return Err("a fragment (#) is never sent");
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("names and passwords do not belong in a URL");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or("the ] after the IPv6 address is missing")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "there is no IPv6 address between [ and ]")?;
                (
                    host,
                    if after.is_empty() {
                        None
                    } else {
                        Some(after.strip_prefix(':').ok_or("after ] comes :PORT or nothing")?)
                    },
                )
            }
            None => match authority.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err("an IPv6 address must stand in [ and ]"),
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(allowed) {
            return Err("the host is missing or has characters that no name has");
        }
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse::<u16>().ok().filter(|p| *p > 0).ok_or("the port must be from 1 to 65535")?)
            }
            Some(_) => return Err("the port must be a number"),
        };
        Ok(Self { https, authority, port, path })
    }
}

/// The text without what stands before an `@`: it may be a password, and messages end up in logs.
pub(crate) fn redacted(text: &str) -> String {
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    match text.rfind('@') {
        Some(at) if at >= after_scheme => {
            format!("{}***{}", text.get(..after_scheme).unwrap_or_default(), text.get(at..).unwrap_or_default())
        }
        Some(_) | None => text.to_owned(),
    }
}
