//! What the kernel dropped in silence, of this network namespace.

/// Counters of `TcpExt` in `/proc/net/netstat`; they only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Dropped {
    /// Segments without a signature where one was expected: `TCPMD5NotFound`.
    pub(super) unsigned: u64,
    /// Segments with a signature where none was expected: `TCPMD5Unexpected`.
    pub(super) unexpected: u64,
    /// Segments with a wrong signature: `TCPMD5Failure`.
    pub(super) wrong: u64,
    /// Segments with a TTL below what their socket asks for: `TCPMinTTLDrop`.
    pub(super) far: u64,
}

impl Dropped {
    /// The counters as they are; zeros where the kernel has none, which then never grow.
    pub(super) fn now() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default())
    }

    /// Lines come in pairs: names, then numbers, both with the group's name first.
    fn parse(text: &str) -> Self {
        let mut dropped = Self::default();
        let mut lines = text.lines();
        while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
            if !names.starts_with("TcpExt:") {
                continue;
            }
            for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
                let field = match name {
                    "TCPMD5NotFound" => &mut dropped.unsigned,
                    "TCPMD5Unexpected" => &mut dropped.unexpected,
                    "TCPMD5Failure" => &mut dropped.wrong,
                    "TCPMinTTLDrop" => &mut dropped.far,
                    _ => continue,
                };
                *field = number.parse().unwrap_or_default();
            }
        }
        dropped
    }

    /// What was dropped since then.
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            unsigned: self.unsigned.saturating_sub(earlier.unsigned),
            unexpected: self.unexpected.saturating_sub(earlier.unexpected),
            wrong: self.wrong.saturating_sub(earlier.wrong),
            far: self.far.saturating_sub(earlier.far),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPMinTTLDrop\n\
                    TcpExt: 9 1 2 3 4\nIpExt: TCPMD5Failure\nIpExt: 7\n";
        assert_eq!(Dropped::parse(text), Dropped { unsigned: 1, unexpected: 2, wrong: 3, far: 4 });
        for broken in ["", "TcpExt:", "TcpExt: TCPMD5Failure\nTcpExt:", "TcpExt: TCPMD5Failure\nTcpExt: x"] {
            assert_eq!(Dropped::parse(broken), Dropped::default());
        }
        let kernel = std::fs::read_to_string("/proc/net/netstat").unwrap();
        for name in ["TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure", "TCPMinTTLDrop"] {
            assert!(kernel.contains(name), "this kernel has no {name}");
        }
    }
}
