//! `tcp_ao = { ... }` of `[[bgp.peer]]`.

use super::inline;
use crate::problem::Problem;
use crate::reader::{Field, Report, Section, Shape, quoted};
use crate::settings::{TcpAoAlgorithm, TcpAoSettings};

/// Whoever calls it has seen that the key is there.
pub(super) fn read(report: &mut Report<'_>, peer: &Section<'_>) -> Option<TcpAoSettings> {
    let table = inline(report, peer, "tcp_ao", &TCP_AO)?;
    let file = table.required(report, "key_file", "the file with the key, key_file = \"/etc/petiole/leaf.key\"");
    let id = |report: &mut Report<'_>, key: &'static str| {
        let id = table.field(key).and_then(|f| f.number(report, "a KeyID such as 1", 0, 255));
        id.and_then(|n| u8::try_from(n).ok()).unwrap_or(TcpAoSettings::ID)
    };
    let (send_id, recv_id) = (id(report, "send_id"), id(report, "recv_id"));
    let algorithm = table.field("algorithm").and_then(|f| read_algorithm(report, &f)).unwrap_or_default();
    let key_file = file.and_then(|f| f.path(report, "\"/etc/petiole/leaf.key\""))?;
    Some(TcpAoSettings { key_file, send_id, recv_id, algorithm })
}

fn read_algorithm(report: &mut Report<'_>, field: &Field<'_>) -> Option<TcpAoAlgorithm> {
    let name = field.string(report, "\"hmac-sha-1-96\" or \"aes-128-cmac-96\"")?;
    let found = [TcpAoAlgorithm::HmacSha1, TcpAoAlgorithm::Aes128Cmac].into_iter().find(|a| a.name() == name);
    if found.is_none() {
        report.error(field.at, Problem::UnknownTcpAoAlgorithm { text: quoted(name) });
    }
    found
}

pub(super) const TCP_AO: Shape = Shape {
    name: "tcp_ao",
    keys: &["key_file", "send_id", "recv_id", "algorithm"],
    wanted: "{ key_file = \"/etc/petiole/leaf.key\", send_id = 1, recv_id = 1 }",
};
