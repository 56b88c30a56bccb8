//! `[store]`.

use super::{StoreDraft, inline, open};
use crate::problem::Problem;
use crate::reader::{At, Field, Report, Section, Shape, quoted};
use crate::settings::{EtcdLogin, EtcdSettings};
use crate::url::{self, Url};

pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> Option<At<StoreDraft>> {
    let value = root.raw("store")?;
    let at = value.span().start;
    let unread = Some(At { at, value: StoreDraft::Unsaid { reported: true } });
    let Some(store) = open(report, root, "store", &STORE) else { return unread };
    let (etcd, embedded) = (store.raw("etcd"), store.field("embedded"));
    let draft = match (etcd, embedded) {
        (Some(_), Some(embedded)) => {
            report.error(embedded.at, Problem::TwoStores);
            StoreDraft::Unsaid { reported: true }
        }
        (Some(_), None) => match inline(report, &store, "etcd", &ETCD) {
            Some(etcd) => read_etcd(report, &etcd),
            None => StoreDraft::Unsaid { reported: true },
        },
        (None, Some(field)) => match field.path(report, "\"/var/lib/petiole/store\"") {
            Some(path) => StoreDraft::Embedded(path),
            None => StoreDraft::Unsaid { reported: true },
        },
        (None, None) => StoreDraft::Unsaid { reported: false },
    };
    Some(At { at, value: draft })
}

fn read_etcd(report: &mut Report<'_>, etcd: &Section<'_>) -> StoreDraft {
    let mut urls: Vec<At<&str>> = Vec::new();
    if let Some(field) = etcd.required(report, "endpoints", "endpoints = [\"http://10.122.0.1:2379\"]") {
        let items = field.items(report, "a list such as [\"http://10.122.0.1:2379\"]");
        if items.as_ref().is_some_and(Vec::is_empty) {
            report.error(field.at, Problem::NoEndpoints);
        }
        for item in items.unwrap_or_default() {
            let Some(url) = read_endpoint(report, &item) else { continue };
            match urls.iter().find(|known| known.value == url) {
                Some(known) => {
                    let first = report.line(known.at);
                    report.error(item.at, Problem::Twice { what: format!("endpoint {}", quoted(url)), first });
                }
                None => urls.push(At { at: item.at, value: url }),
            }
        }
    }
    let mut file =
        |key, example| etcd.field(key).and_then(|f| f.path(report, example).map(|p| At { at: f.at, value: p }));
    let ca = file("ca", "\"/etc/petiole/etcd-ca.pem\"");
    let cert = file("cert", "\"/etc/petiole/etcd.pem\"");
    let key = file("key", "\"/etc/petiole/etcd.key\"");

    if let (Some(field), None) = (etcd.field("cert"), etcd.field("key")) {
        report.error(field.at, Problem::HalfCertificate { given: "cert", missing: "key" });
    }
    if let (None, Some(field)) = (etcd.field("cert"), etcd.field("key")) {
        report.error(field.at, Problem::HalfCertificate { given: "key", missing: "cert" });
    }
    for (name, file) in [("ca", &ca), ("cert", &cert), ("key", &key)] {
        if let Some(file) = file
            && let Some(plain) = urls.iter().find(|url| url.value.starts_with("http:"))
        {
            let problem = Problem::TlsWithoutHttps { section: ETCD.name, key: name, text: quoted(plain.value) };
            report.error(file.at, problem);
        }
    }
    if etcd.field("ca").is_none()
        && let Some(url) = urls.iter().find(|url| url.value.starts_with("https:"))
    {
        report.error(url.at, Problem::EndpointWithoutCa { text: quoted(url.value) });
    }
    let login = read_login(report, etcd);
    StoreDraft::Etcd(EtcdSettings {
        endpoints: urls.into_iter().map(|url| url.value.to_owned()).collect(),
        ca: ca.map(|f| f.value),
        cert: cert.map(|f| f.value),
        key: key.map(|f| f.value),
        login,
    })
}

/// A name and the file of its password: both or none.
fn read_login(report: &mut Report<'_>, etcd: &Section<'_>) -> Option<EtcdLogin> {
    let (user, file) = (etcd.field("user"), etcd.field("password_file"));
    for (given, missing, there, lacks) in
        [("user", "password_file", &user, file.is_none()), ("password_file", "user", &file, user.is_none())]
    {
        if let (Some(field), true) = (there, lacks) {
            report.error(field.at, Problem::HalfLogin { given, missing });
        }
    }
    let name = user.and_then(|field| {
        let name = field.string(report, "a name such as \"petiole\"")?;
        if name.is_empty() {
            report.error(field.at, Problem::NoUser);
        }
        (!name.is_empty()).then(|| name.to_owned())
    });
    let password_file = file.and_then(|field| field.path(report, "\"/etc/petiole/etcd.password\""));
    Some(EtcdLogin { user: name?, password_file: password_file? })
}

/// An endpoint without a trailing slash.
fn read_endpoint<'a>(report: &mut Report<'_>, item: &Field<'a>) -> Option<&'a str> {
    let text = item.string(report, "endpoints as strings, such as [\"http://10.122.0.1:2379\"]")?;
    let (section, key) = (item.section, item.key);
    let example = || "one such as \"http://10.122.0.1:2379\"".to_owned();
    let (why, wanted) = match Url::parse(text) {
        Ok(url) if url.port.is_none() => {
            // The client would take the scheme's port, 80 or 443, where no etcd listens.
            let scheme = if url.https { "https" } else { "http" };
            ("the port is missing", format!("\"{scheme}://{}:2379\"", url.authority))
        }
        Ok(url) if !matches!(url.path, "" | "/") => ("an endpoint has no path", example()),
        Ok(_) => return Some(text.trim_end_matches('/')),
        Err(why) => {
            let guess = format!("http://{text}");
            let near =
                !text.contains("://") && Url::parse(&guess).is_ok_and(|url| url.port.is_some() && url.path.is_empty());
            (why, if near { quoted(&guess) } else { example() })
        }
    };
    report.error(item.at, Problem::BadUrl { section, key, text: quoted(&url::redacted(text)), why, wanted });
    None
}

pub(super) const STORE: Shape = Shape { name: "[store]", keys: &["etcd", "embedded"], wanted: "a section, [store]" };
pub(super) const ETCD: Shape = Shape {
    name: "[store] etcd",
    keys: &["endpoints", "ca", "cert", "key", "user", "password_file"],
    wanted: "{ endpoints = [\"http://10.122.0.1:2379\"] }",
};
