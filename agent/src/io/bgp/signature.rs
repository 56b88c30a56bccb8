//! How the segments of a leaf's connections are signed: TCP MD5 (RFC 2385) or TCP-AO (RFC 5925).

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;

use petiole_node::config::{PeerSettings, TcpAoAlgorithm};

use super::sockopt::{self, AoIds};

/// Which of the two, with what belongs to it beside the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    Md5,
    Ao { ids: AoIds, algorithm: TcpAoAlgorithm },
}

impl Signature {
    /// What a leaf's settings ask for, with the file of the key.
    pub(super) fn wanted(settings: &PeerSettings) -> Option<(Self, PathBuf)> {
        match (&settings.tcp_ao, &settings.password_file) {
            (Some(ao), _) => {
                let ids = AoIds { send: ao.send_id, recv: ao.recv_id };
                Some((Self::Ao { ids, algorithm: ao.algorithm }, ao.key_file.clone()))
            }
            (None, file) => Some((Self::Md5, file.clone()?)),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "TCP MD5",
            Self::Ao { .. } => "TCP-AO",
        }
    }

    /// Why the running kernel cannot do it, in words. TCP MD5 is only asked for by using it.
    pub(super) fn impossible(self) -> Option<String> {
        let Self::Ao { algorithm, .. } = self else { return None };
        sockopt::probe_ao(kernels(algorithm)).err().map(|e| self.words(&e))
    }

    /// Give a socket the key that has none for this leaf yet, or in the case of TCP MD5 another one.
    pub(super) fn sign(self, socket: impl AsFd, v6_socket: bool, leaf: IpAddr, key: &[u8]) -> Result<(), String> {
        let signed = match self {
            Self::Md5 => sockopt::sign(socket, v6_socket, leaf, key),
            Self::Ao { ids, algorithm } => sockopt::sign_ao(socket, v6_socket, leaf, ids, kernels(algorithm), key),
        };
        signed.map_err(|e| self.words(&e))
    }

    /// The same for the listening socket, whatever key it has for this leaf. What is accepted between an old and a new key of TCP-AO
    /// has no signature, and [`Self::renew`] refuses it.
    pub(super) fn replace(self, socket: impl AsFd, v6_socket: bool, leaf: IpAddr, key: &[u8]) -> Result<(), String> {
        if let Self::Ao { ids, .. } = self {
            match sockopt::forget_ao(&socket, v6_socket, leaf, ids) {
                Err(e) if e.raw_os_error() != Some(libc::ENOENT) => return Err(self.words(&e)),
                Ok(()) | Err(_) => {}
            }
        }
        self.sign(socket, v6_socket, leaf, key)
    }

    /// Make sure of a connection: TCP MD5 takes the key of now, TCP-AO keeps the one that it was made with.
    pub(super) fn renew(self, socket: impl AsFd, v6_socket: bool, leaf: IpAddr, key: &[u8]) -> Result<(), String> {
        match self {
            Self::Md5 => self.sign(socket, v6_socket, leaf, key),
            Self::Ao { .. } => match sockopt::has_ao(&socket) {
                Ok(()) => Ok(()),
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Err("the connection has no TCP-AO".to_owned()),
                Err(e) => Err(self.words(&e)),
            },
        }
    }

    fn words(self, error: &io::Error) -> String {
        let name = self.name();
        match (self, error.raw_os_error()) {
            (Self::Md5, Some(libc::ENOPROTOOPT)) => {
                "this kernel has no TCP MD5 signatures: it needs CONFIG_TCP_MD5SIG, or no password_file".to_owned()
            }
            (Self::Ao { .. }, Some(libc::ENOPROTOOPT)) => {
                "this kernel has no TCP-AO: it needs Linux 6.7 or later with CONFIG_TCP_AO, or password_file instead of \
                 tcp_ao, on the leaf too"
                    .to_owned()
            }
            (Self::Ao { algorithm, .. }, Some(libc::ENOENT)) => {
                format!("this kernel has TCP-AO, but not the algorithm {}", algorithm.name())
            }
            (_, Some(libc::ENOMEM)) => {
                format!("the kernel has no memory for another {name} key: raise the sysctl net.core.optmem_max")
            }
            _ => format!("the kernel does not take the {name} key: {error}"),
        }
    }
}

/// The kernel's name of an algorithm (`net/ipv4/tcp_ao.c`).
const fn kernels(algorithm: TcpAoAlgorithm) -> &'static str {
    match algorithm {
        TcpAoAlgorithm::HmacSha1 => "hmac(sha1)",
        TcpAoAlgorithm::Aes128Cmac => "cmac(aes128)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: AoIds = AoIds { send: 1, recv: 1 };

    #[test]
    fn what_cannot_be_signed_is_said_with_what_to_do() {
        let ao = Signature::Ao { ids: IDS, algorithm: TcpAoAlgorithm::Aes128Cmac };
        let words = |how: Signature, code| how.words(&io::Error::from_raw_os_error(code));
        assert!(words(Signature::Md5, libc::ENOPROTOOPT).contains("CONFIG_TCP_MD5SIG"));
        assert!(words(Signature::Md5, libc::ENOMEM).contains("net.core.optmem_max"));
        assert!(words(Signature::Md5, libc::EPERM).contains("does not take the TCP MD5 key"));
        let none = words(ao, libc::ENOPROTOOPT);
        assert!(none.starts_with("this kernel has no TCP-AO") && none.contains("CONFIG_TCP_AO"), "{none}");
        assert!(words(ao, libc::ENOENT).contains("aes-128-cmac-96"));
    }

    #[test]
    fn rfc5925_the_running_kernel_is_asked_before_anything_depends_on_it() {
        for algorithm in [TcpAoAlgorithm::HmacSha1, TcpAoAlgorithm::Aes128Cmac] {
            let ao = Signature::Ao { ids: IDS, algorithm };
            match ao.impossible() {
                None => println!("this kernel has TCP-AO with {}", algorithm.name()),
                Some(words) => {
                    assert!(words.starts_with("this kernel has "), "{words}");
                    // What the probe says holds for the real thing.
                    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                    let leaf = "127.0.0.2".parse().unwrap();
                    assert_eq!(ao.sign(&socket, false, leaf, b"secret").unwrap_err(), words);
                    assert!(ao.replace(&socket, false, leaf, b"secret").is_err());
                    assert!(ao.renew(&socket, false, leaf, b"secret").is_err());
                }
            }
        }
        assert_eq!(Signature::Md5.impossible(), None);
    }
}
