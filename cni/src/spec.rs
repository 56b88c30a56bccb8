//! Versions of the CNI specification, and what results and errors look like in each.

use serde_json::{Map, Value, json};

use crate::rpc::{Added, Command, Failure};

/// A version of the specification that is spoken here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Spec {
    /// 0.3.0: the first with lists of interfaces and addresses.
    V0_3_0,
    /// 0.3.1: the same, mended in its words.
    V0_3_1,
    /// 0.4.0: CHECK.
    V0_4_0,
    /// 1.0.0: addresses without their family.
    V1_0_0,
    /// 1.1.0: GC, STATUS, and the MTU of interfaces and routes.
    V1_1_0,
}

impl Spec {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest.
    pub const LATEST: Self = Self::V1_1_0;

    /// As `cniVersion` says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|spec| spec.name() == name)
    }

    /// The first version that has this operation.
    #[must_use]
    pub const fn first_with(command: Command) -> Self {
        match command {
            Command::Add | Command::Del => Self::V0_3_0,
            Command::Check => Self::V0_4_0,
            Command::Status | Command::Gc => Self::V1_1_0,
        }
    }

    /// The answer to VERSION: `asked` is the version of the question, where it said one.
    #[must_use]
    pub fn versions(asked: Option<&str>) -> Value {
        let all: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
        json!({ "cniVersion": asked.unwrap_or(Self::LATEST.name()), "supportedVersions": all })
    }

    /// The result of ADD. `sandbox` is `CNI_NETNS`, `dns` what the configuration says of name servers.
    #[must_use]
    pub fn result(self, added: &Added, sandbox: Option<&str>, dns: Option<&Value>) -> Value {
        let mut interfaces = Vec::new();
        let mut container_index = None;
        for (end, sandbox) in [(&added.host, None), (&added.container, sandbox)] {
            let Some(end) = end else { continue };
            let mut interface = Map::new();
            interface.insert("name".into(), json!(end.name));
            interface.insert("mac".into(), json!(end.mac));
            if let Some(mtu) = added.mtu.filter(|_| self >= Self::V1_1_0) {
                interface.insert("mtu".into(), json!(mtu));
            }
            if let Some(sandbox) = sandbox {
                interface.insert("sandbox".into(), json!(sandbox));
                container_index = Some(interfaces.len());
            }
            interfaces.push(Value::Object(interface));
        }
        let mut ips = Vec::new();
        for address in &added.addresses {
            let mut ip = Map::new();
            if self < Self::V1_0_0 {
                ip.insert("version".into(), json!(if address.address.address().is_ipv4() { "4" } else { "6" }));
            }
            ip.insert("address".into(), json!(address.address));
            if let Some(gateway) = address.gateway {
                ip.insert("gateway".into(), json!(gateway));
            }
            if let Some(index) = container_index {
                ip.insert("interface".into(), json!(index));
            }
            ips.push(Value::Object(ip));
        }
        let mut routes = Vec::new();
        for route in &added.routes {
            let mut entry = Map::new();
            entry.insert("dst".into(), json!(route.dst));
            if let Some(gateway) = route.gateway {
                entry.insert("gw".into(), json!(gateway));
            }
            routes.push(Value::Object(entry));
        }
        let mut result = Map::new();
        result.insert("cniVersion".into(), json!(self.name()));
        // A delegated plugin for addresses says nothing of interfaces.
        if !interfaces.is_empty() {
            result.insert("interfaces".into(), Value::Array(interfaces));
        }
        result.insert("ips".into(), Value::Array(ips));
        result.insert("routes".into(), Value::Array(routes));
        result.insert("dns".into(), dns.cloned().unwrap_or_else(|| json!({})));
        Value::Object(result)
    }

    /// An error as it is printed, in every version the same.
    #[must_use]
    pub fn error(self, failure: &Failure) -> Value {
        let mut error = Map::new();
        error.insert("cniVersion".into(), json!(self.name()));
        error.insert("code".into(), json!(failure.code));
        error.insert("msg".into(), json!(failure.msg));
        if !failure.details.is_empty() {
            error.insert("details".into(), json!(failure.details));
        }
        Value::Object(error)
    }
}

#[cfg(test)]
mod tests;
