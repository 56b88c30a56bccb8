//! The network configuration that the runtime writes to the plugin's standard input.
//!
//! Keys that are not known are passed over, as are keys of other plugins; `null` is as good as absent; of a key that is
//! there twice the last one counts. So it is with the reference plugins.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::id::is_id;
use crate::rpc::{Attachment, Code, Failure, Mode, Previous, PreviousAddress, PreviousInterface, Route, SOCKET};
use crate::{Cidr, Mac};

/// How long the plugin waits for the agent unless the configuration says otherwise: below the 2 minutes after which
/// container runtimes give up.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest and the longest `timeout`.
const TIMEOUTS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(600)];

/// The longest path of a unix socket, in octets.
const LONGEST_SOCKET: usize = 107;

/// The plugin's name in `type`.
const TYPE: &str = "petiole";

/// A configuration, read as JSON and not yet judged.
#[derive(Debug)]
pub struct Conf(Map<String, Value>);

/// A value of another shape than its key has. The value is cut, since it may be as long as the configuration.
fn wrong(key: &str, value: &Value, should: &str) -> Failure {
    let mut value = value.to_string();
    if let Some((end, _)) = value.char_indices().nth(80) {
        value.truncate(end);
        value.push_str("...");
    }
    Failure::new(Code::DECODE, format!("the network configuration says \"{key}\": {value}, which is not {should}"))
}

fn invalid(key: &str, value: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::CONFIG, format!("the network configuration says \"{key}\": {value:?}: {why}"))
}

fn get<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

fn object<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>, Failure> {
    get(map, key).map(|value| value.as_object().ok_or_else(|| wrong(key, value, "an object"))).transpose()
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, Failure> {
    get(map, key).map(|value| value.as_str().ok_or_else(|| wrong(key, value, "a text"))).transpose()
}

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> Result<&'a [Value], Failure> {
    match get(map, key) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(value) => Err(wrong(key, value, "a list")),
    }
}

fn texts<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Vec<&'a str>, Failure> {
    list(map, key)?.iter().map(|value| value.as_str().ok_or_else(|| wrong(key, value, "a text"))).collect()
}

/// An address, with or without the length of its network.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<Cidr>().ok().map(Cidr::address))
}

impl Conf {
    /// Reads JSON.
    ///
    /// # Errors
    /// [`Code::DECODE`] for what is no JSON object.
    pub fn read(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            let msg = "standard input is empty: the runtime writes the network configuration there, as JSON";
            return Err(Failure::new(Code::DECODE, msg));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(Failure::new(Code::DECODE, "the network configuration on standard input is no JSON object")),
            Err(error) => {
                let msg = "the network configuration on standard input is no JSON";
                Err(Failure::new(Code::DECODE, msg).details(error.to_string()))
            }
        }
    }

    /// `cniVersion`.
    ///
    /// # Errors
    /// [`Code::DECODE`] for anything but a text.
    pub fn version(&self) -> Result<Option<&str>, Failure> {
        text(&self.0, "cniVersion")
    }

    /// `name`.
    ///
    /// # Errors
    /// [`Code::CONFIG`] where it is missing or has other characters than the specification allows.
    pub fn name(&self) -> Result<&str, Failure> {
        let name = text(&self.0, "name")?.filter(|name| !name.is_empty()).ok_or_else(|| {
            Failure::new(Code::CONFIG, "the network configuration has no \"name\": give the network one")
        })?;
        if is_id(name) {
            return Ok(name);
        }
        let why = "a name begins with a letter or a digit, and goes on with letters, digits, '_', '.' and '-'";
        Err(invalid("name", name, why))
    }

    /// Whether this plugin is asked to wire, or to give addresses to another one. `called` is the name of the executable.
    ///
    /// # Errors
    /// [`Code::CONFIG`] where neither `type` nor `ipam.type` names this plugin; [`Code::UNSUPPORTED`] where it is asked to
    /// wire with addresses from elsewhere.
    pub fn mode(&self, called: &str) -> Result<Mode, Failure> {
        let is_us = |name: &str| name == TYPE || name == called;
        let kind = text(&self.0, "type")?.unwrap_or_default();
        let ipam = object(&self.0, "ipam")?.map(|ipam| text(ipam, "type")).transpose()?.flatten();
        match (is_us(kind), ipam) {
            (true, None) => Ok(Mode::Wire),
            (true, Some(ipam)) if is_us(ipam) || ipam.is_empty() => Ok(Mode::Wire),
            (true, Some(ipam)) => Err(Failure::new(
                Code::UNSUPPORTED,
                format!(
                    "\"ipam\": {{\"type\": {ipam:?}}} is not supported below \"type\": {kind:?}, which hands out its own \
                     addresses: take \"ipam.type\" out, or use ptp or bridge"
                ),
            )),
            (false, Some(ipam)) if is_us(ipam) => Ok(Mode::Ipam),
            (false, _) => Err(Failure::new(
                Code::CONFIG,
                format!(
                    "neither \"type\" ({kind:?}) nor \"ipam.type\" ({:?}) of the network configuration is {TYPE:?}, which \
                     is what was called",
                    ipam.unwrap_or_default()
                ),
            )),
        }
    }

    /// The plugin that wants addresses, if one does.
    ///
    /// # Errors
    /// [`Code::CONFIG`] where `type` is no text.
    pub fn under(&self, mode: Mode) -> Result<Option<String>, Failure> {
        let kind = text(&self.0, "type")?;
        Ok(kind.filter(|_| mode == Mode::Ipam).map(str::to_owned))
    }

    /// The bridge of a configuration of the plugin `bridge`, which has to be its pods' router.
    ///
    /// # Errors
    /// [`Code::CONFIG`] where the bridge would be no router, or not that of the pods.
    pub fn bridge(&self) -> Result<String, Failure> {
        let is = |key| match get(&self.0, key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| wrong(key, value, "true or false")),
        };
        if !is("isGateway")? && !is("isDefaultGateway")? {
            let msg = "\"type\": \"bridge\" does not make the bridge the pods' router, and there is no other that knows \
                       addresses of petiole: write \"isGateway\": true";
            return Err(Failure::new(Code::CONFIG, msg));
        }
        if let Some(vlan) = get(&self.0, "vlan").filter(|vlan| vlan.as_u64() != Some(0)) {
            let why = "petiole routes to the bridge itself, not to a VLAN of it: take \"vlan\" out";
            return Err(invalid("vlan", &vlan.to_string(), why));
        }
        Ok(text(&self.0, "bridge")?.filter(|name| !name.is_empty()).unwrap_or("cni0").to_owned())
    }

    /// `socket`: where the agent listens.
    ///
    /// # Errors
    /// [`Code::CONFIG`] for what cannot be the path of a socket.
    pub fn socket(&self) -> Result<PathBuf, Failure> {
        let path = text(&self.0, "socket")?.unwrap_or(SOCKET);
        if !path.starts_with('/') {
            return Err(invalid("socket", path, "write an absolute path"));
        }
        if path.len() > LONGEST_SOCKET || path.contains('\0') {
            return Err(invalid("socket", path, format!("a socket's path has at most {LONGEST_SOCKET} octets")));
        }
        Ok(path.into())
    }

    /// `timeout`: how long all of a call may take.
    ///
    /// # Errors
    /// [`Code::CONFIG`] for what is no time, or too short or too long a one.
    pub fn timeout(&self) -> Result<Duration, Failure> {
        let Some(said) = text(&self.0, "timeout")? else { return Ok(TIMEOUT) };
        let digits = said.find(|c: char| !c.is_ascii_digit()).unwrap_or(said.len());
        let (number, unit) = said.split_at(digits);
        let milliseconds = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        let time = number.parse::<u64>().ok().zip(milliseconds).and_then(|(number, unit)| number.checked_mul(unit));
        let time = time.map(Duration::from_millis).filter(|time| TIMEOUTS[0] <= *time && *time <= TIMEOUTS[1]);
        time.ok_or_else(|| invalid("timeout", said, "write a time from 100ms to 10m, such as 30s"))
    }

    /// `mtu` in octets; 0 is as good as absent.
    ///
    /// # Errors
    /// [`Code::CONFIG`] for what no interface can have.
    pub fn mtu(&self) -> Result<Option<u32>, Failure> {
        let Some(value) = get(&self.0, "mtu") else { return Ok(None) };
        match value.as_u64().map(u32::try_from) {
            Some(Ok(0)) => Ok(None),
            // 68 is the least of IPv4 (RFC 791 section 3.2); 65535 the most of a veth.
            Some(Ok(mtu @ 68..=65535)) => Ok(Some(mtu)),
            Some(_) => Err(invalid("mtu", &value.to_string(), "an MTU is from 68 to 65535 octets")),
            None => Err(wrong("mtu", value, "a whole number")),
        }
    }

    /// `ipam.pools`.
    ///
    /// # Errors
    /// [`Code::DECODE`] for anything but a list of texts.
    pub fn pools(&self) -> Result<Vec<String>, Failure> {
        let Some(ipam) = object(&self.0, "ipam")? else { return Ok(Vec::new()) };
        Ok(texts(ipam, "pools")?.into_iter().map(str::to_owned).collect())
    }

    /// `runtimeConfig.ips`, then `args.cni.ips`; lengths are passed over, an address given twice is taken once.
    ///
    /// # Errors
    /// [`Code::CONFIG`] for what is no address.
    pub fn ips(&self) -> Result<Vec<IpAddr>, Failure> {
        let mut ips = Vec::new();
        for place in [object(&self.0, "runtimeConfig")?, self.arguments()?].into_iter().flatten() {
            for said in texts(place, "ips")? {
                let ip = address(said).ok_or_else(|| invalid("ips", said, "write addresses, such as 10.1.2.3"))?;
                if !ips.contains(&ip) {
                    ips.push(ip);
                }
            }
        }
        Ok(ips)
    }

    /// `runtimeConfig.mac`, else `args.cni.mac`.
    ///
    /// # Errors
    /// [`Code::CONFIG`] for what is no link-layer address of one interface.
    pub fn mac(&self) -> Result<Option<Mac>, Failure> {
        for place in [object(&self.0, "runtimeConfig")?, self.arguments()?].into_iter().flatten() {
            if let Some(said) = text(place, "mac")?.filter(|said| !said.is_empty()) {
                return unicast(said).map(Some).map_err(|why| invalid("mac", said, why));
            }
        }
        Ok(None)
    }

    fn arguments(&self) -> Result<Option<&Map<String, Value>>, Failure> {
        Ok(object(&self.0, "args")?.map(|args| object(args, "cni")).transpose()?.flatten())
    }

    /// `dns` as it stands.
    #[must_use]
    pub fn dns(&self) -> Option<&Value> {
        get(&self.0, "dns").filter(|dns| dns.is_object())
    }

    /// Whether there is a `prevResult`.
    #[must_use]
    pub fn has_previous(&self) -> bool {
        get(&self.0, "prevResult").is_some()
    }

    /// `prevResult`, reduced to what CHECK needs.
    ///
    /// # Errors
    /// [`Code::CONFIG`] where it is missing, [`Code::DECODE`] where it cannot be read.
    pub fn previous(&self) -> Result<Previous, Failure> {
        let Some(result) = object(&self.0, "prevResult")? else {
            let msg = "CHECK needs \"prevResult\", the result of ADD: the network configuration has none";
            return Err(Failure::new(Code::CONFIG, msg));
        };
        let entry = |key: &'static str| {
            let object = |value: &'_ Value| value.as_object().cloned().ok_or_else(|| wrong(key, value, "an object"));
            list(result, key).and_then(|list| list.iter().map(object).collect::<Result<Vec<_>, _>>())
        };
        let mut previous = Previous::default();
        for interface in entry("interfaces")? {
            previous.interfaces.push(PreviousInterface {
                name: text(&interface, "name")?.unwrap_or_default().to_owned(),
                mac: text(&interface, "mac")?.and_then(|mac| mac.parse().ok()),
                sandbox: text(&interface, "sandbox")?.filter(|path| !path.is_empty()).map(str::to_owned),
            });
        }
        for ip in entry("ips")? {
            previous.ips.push(PreviousAddress {
                address: cidr(&ip, "address")?,
                gateway: gateway(&ip, "gateway")?,
                interface: get(&ip, "interface").and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok()),
            });
        }
        for route in entry("routes")? {
            previous.routes.push(Route { dst: cidr(&route, "dst")?, gateway: gateway(&route, "gw")? });
        }
        Ok(previous)
    }

    /// `cni.dev/valid-attachments`: what GC leaves. `null` is what runtimes in Go write for none at all.
    ///
    /// # Errors
    /// [`Code::CONFIG`] where the key is missing: nothing is removed because somebody forgot to say what to keep.
    /// [`Code::DECODE`] where an entry cannot be read.
    pub fn valid(&self) -> Result<Vec<Attachment>, Failure> {
        const KEY: &str = "cni.dev/valid-attachments";
        if !self.0.contains_key(KEY) {
            let msg = format!("GC needs {KEY:?}, the attachments to keep: the network configuration has none");
            return Err(Failure::new(Code::CONFIG, msg));
        }
        let attachment = |value: &Value| {
            let entry = value.as_object().ok_or_else(|| wrong(KEY, value, "a list of objects"))?;
            let part =
                |key| text(entry, key)?.ok_or_else(|| wrong(KEY, value, "an attachment with containerID and ifname"));
            Ok(Attachment { container: part("containerID")?.to_owned(), interface: part("ifname")?.to_owned() })
        };
        list(&self.0, KEY)?.iter().map(attachment).collect()
    }
}

/// A link-layer address that one interface can have.
pub(crate) fn unicast(text: &str) -> Result<Mac, String> {
    let mac: Mac = text.parse().map_err(|error: crate::address::AddressError| error.to_string())?;
    if mac.0[0] & 1 == 1 {
        return Err("it is a group's address; the lowest bit of the first octet has to be 0".into());
    }
    if mac.0 == [0; 6] { Err("no interface has the address of zeros".into()) } else { Ok(mac) }
}

fn cidr(entry: &Map<String, Value>, key: &str) -> Result<Cidr, Failure> {
    let said = text(entry, key)?.unwrap_or_default();
    said.parse().map_err(|error: crate::address::AddressError| {
        Failure::new(Code::DECODE, format!("\"prevResult\" has an entry whose {key:?} cannot be read"))
            .details(error.to_string())
    })
}

fn gateway(entry: &Map<String, Value>, key: &str) -> Result<Option<IpAddr>, Failure> {
    let Some(said) = text(entry, key)?.filter(|said| !said.is_empty()) else { return Ok(None) };
    said.parse().map(Some).map_err(|_| wrong(key, &said.into(), "an address"))
}

#[cfg(test)]
mod tests;
