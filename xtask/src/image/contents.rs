//! What the image holds beside the agent and the lab runner.

/// Programs by the Debian package that brings them, for the error that names what to install.
pub(super) const PROGRAMS: &[(&str, &[&str])] = &[
    ("dash", &["sh"]),
    // FRR's own scripts are written for bash.
    ("bash", &["bash"]),
    (
        "coreutils",
        &[
            "basename", "cat", "chgrp", "chmod", "chown", "cp", "cut", "date", "dirname", "echo", "env", "false",
            "head", "id", "install", "ln", "ls", "mkdir", "mkfifo", "mktemp", "mv", "nice", "nproc", "od", "printf",
            "pwd", "readlink", "realpath", "rm", "rmdir", "seq", "sleep", "sort", "stat", "stdbuf", "stty", "sync",
            "tail", "tee", "test", "timeout", "touch", "tr", "true", "tty", "uname", "uniq", "wc",
        ],
    ),
    ("sed", &["sed"]),
    ("grep", &["grep"]),
    ("mawk", &["awk"]),
    ("findutils", &["find", "xargs"]),
    ("hostname", &["hostname"]),
    ("procps", &["kill", "pgrep", "pkill", "ps", "sysctl", "top", "watch"]),
    ("util-linux", &["dmesg", "flock", "mount", "nsenter", "setsid", "umount", "unshare"]),
    ("iproute2", &["bridge", "ip", "nstat", "ss", "tc"]),
    ("iputils-ping", &["ping"]),
    ("traceroute", &["traceroute"]),
    ("nftables", &["nft"]),
    ("socat", &["socat"]),
    ("tcpdump", &["tcpdump"]),
    ("curl", &["curl"]),
    ("openssl", &["openssl"]),
    ("etcd-server", &["etcd"]),
    ("etcd-client", &["etcdctl"]),
    ("frr", &["vtysh"]),
];

/// Files outside the search path that are taken as they are, and whose libraries come along.
pub(super) const FILES: &[&str] = &[
    "/usr/lib/frr/bfdd",
    "/usr/lib/frr/bgpd",
    "/usr/lib/frr/frrcommon.sh",
    "/usr/lib/frr/frrinit.sh",
    "/usr/lib/frr/staticd",
    "/usr/lib/frr/watchfrr",
    "/usr/lib/frr/watchfrr.sh",
    "/usr/lib/frr/zebra",
    // Which daemons FRR's scripts start. No other file of /etc/frr: those are this machine's own configuration.
    "/etc/frr/daemons",
    "/etc/nsswitch.conf",
    "/etc/pam.d/frr",
    "/etc/pam.d/other",
    "/etc/pam.d/common-account",
    "/etc/pam.d/common-auth",
    "/etc/pam.d/common-password",
    "/etc/pam.d/common-session",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
];

/// Folders that are taken whole; one that is not there is none of this version's.
pub(super) const FOLDERS: &[&str] = &["/etc/iproute2", "/usr/lib/terminfo", "/usr/share/yang"];

/// PAM modules that the files of `/etc/pam.d` above name; they lie beside libc, in `security`.
pub(super) const PAM_MODULES: &[&str] = &["pam_deny.so", "pam_permit.so", "pam_rootok.so", "pam_unix.so"];

/// Folders that exist and are empty, or nearly so.
pub(super) const EMPTY: &[&str] = &[
    "dev",
    "etc/petiole",
    "proc",
    "root",
    "run/frr",
    "run/lock",
    "sys",
    "tmp",
    "usr/local/bin",
    "usr/local/sbin",
    "var/lib/etcd",
    "var/lib/petiole",
    "var/log/frr",
    "var/tmp",
];

/// Links of a merged `/usr`, and the old name of `/run`: (link, what it says).
pub(super) const LINKS: &[(&str, &str)] =
    &[("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin"), ("var/run", "/run")];

/// Folders that belong to the user FRR's daemons become.
pub(super) const FRR_OWNED: &[&str] = &["etc/frr", "run/frr", "var/log/frr"];

/// Users and groups whose lines of this machine's files are taken: what daemons become, and names that `ls` shows.
pub(super) const ACCOUNTS: &[&str] = &["root", "daemon", "tty", "nobody", "nogroup", "frr", "frrvty", "tcpdump"];
