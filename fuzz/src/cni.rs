//! CNI: frames between plugin and agent, and what a container runtime says.

use petiole_cni::ask::{self, Order};
use petiole_cni::rpc::{Incoming, Request, Response, encode};

/// The first octet: a frame in pieces, or a configuration and an environment.
pub fn cni(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    if which & 1 == 0 { frame(usize::from(which >> 1) + 1, rest) } else { order(which >> 1, rest) }
}

fn frame(piece: usize, data: &[u8]) {
    let mut incoming = Incoming::default();
    for piece in data.chunks(piece) {
        if incoming.extend(piece).is_err() {
            return;
        }
        if let Ok(Some(request)) = incoming.message::<Request>() {
            again(&request);
        }
        if let Ok(Some(response)) = incoming.message::<Response>() {
            again(&response);
        }
    }
}

/// What was read is written and read as the same.
fn again<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) {
    // A body at the bound may grow, since absent fields are written.
    let Ok(frame) = encode(message) else { return };
    let mut incoming = Incoming::default();
    incoming.extend(&frame).expect("what we write is a frame");
    assert_eq!(incoming.message::<T>().expect("what we write we read").as_ref(), Some(message));
}

/// Lines of the environment until an empty one; the configuration is what follows.
fn order(command: u8, data: &[u8]) {
    let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
    let mut values = Vec::new();
    let mut rest = data;
    for _ in names {
        let end = rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        values.push(String::from_utf8_lossy(line).into_owned());
        rest = tail.get(1..).unwrap_or_default();
    }
    let commands = ["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"];
    let command = commands[usize::from(command) % commands.len()];
    let env = |name: &str| match names.iter().position(|n| *n == name) {
        Some(index) => values.get(index).cloned(),
        None => (name == "CNI_COMMAND").then(|| command.to_owned()),
    };
    match ask::read(&env, "petiole", rest) {
        Ok(Order::Ask(ask)) => {
            again(&ask.request);
            assert!(ask.request.interface.len() <= 15 && !ask.request.interface.contains('/'));
            assert!(!ask.request.container.contains(['/', '\0', ' ']) && !ask.request.network.contains('/'));
            assert!(ask.timeout.as_millis() >= 100 && ask.socket.is_absolute());
            let _ = ask.answer(Response::Done);
        }
        Ok(Order::Version(answer)) => assert!(answer.is_object()),
        Err(refusal) => assert!((1..=11).contains(&refusal.failure.code.0) && !refusal.failure.msg.is_empty()),
    }
}
