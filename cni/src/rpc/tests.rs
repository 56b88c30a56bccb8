use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn cidr() -> impl Strategy<Value = Cidr> {
    (any::<IpAddr>(), 0..=128_u8)
        .prop_map(|(address, length)| Cidr::new(address, length).unwrap_or_else(|_| Cidr::host(address)))
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn route() -> impl Strategy<Value = Route> {
    (cidr(), any::<Option<IpAddr>>()).prop_map(|(dst, gateway)| Route { dst, gateway })
}

fn pod() -> impl Strategy<Value = Pod> {
    any::<(String, String, Option<String>, Option<String>)>().prop_map(|(namespace, name, uid, infra_container)| Pod {
        namespace,
        name,
        uid,
        infra_container,
    })
}

fn previous() -> impl Strategy<Value = Previous> {
    let interface = (any::<String>(), option::of(mac()), any::<Option<String>>())
        .prop_map(|(name, mac, sandbox)| PreviousInterface { name, mac, sandbox });
    let ip = (cidr(), any::<Option<IpAddr>>(), any::<Option<u32>>())
        .prop_map(|(address, gateway, interface)| PreviousAddress { address, gateway, interface });
    (vec(interface, 0..3), vec(ip, 0..3), vec(route(), 0..3)).prop_map(|(interfaces, ips, routes)| Previous {
        interfaces,
        ips,
        routes,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let command = prop_oneof![
        Just(Command::Add),
        Just(Command::Del),
        Just(Command::Check),
        Just(Command::Status),
        Just(Command::Gc)
    ];
    let mode = prop_oneof![Just(Mode::Wire), Just(Mode::Ipam)];
    let valid = any::<(String, String)>().prop_map(|(container, interface)| Attachment { container, interface });
    let texts = (any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>());
    let names = (any::<String>(), any::<String>(), any::<String>(), texts, option::of(pod()));
    let wishes = (any::<Vec<IpAddr>>(), option::of(mac()), any::<Option<u32>>(), vec(any::<String>(), 0..3));
    let rest = (option::of(previous()), vec(valid, 0..3), any::<u64>(), any::<u32>());
    (command, mode, names, wishes, rest).prop_map(|(command, mode, names, wishes, rest)| {
        let (network, container, interface, (under, bridge, netns), pod) = names;
        let (ips, mac, mtu, pools) = wishes;
        let (prev, valid, patience_ms, version) = rest;
        Request {
            version,
            command,
            mode,
            under,
            bridge,
            network,
            container,
            interface,
            netns,
            pod,
            ips,
            mac,
            mtu,
            pools,
            prev,
            valid,
            patience_ms,
        }
    })
}

fn response() -> impl Strategy<Value = Response> {
    let interface = || option::of((any::<String>(), mac()).prop_map(|(name, mac)| Interface { name, mac }));
    let address = (cidr(), any::<Option<IpAddr>>()).prop_map(|(address, gateway)| Address { address, gateway });
    let added = (interface(), interface(), vec(address, 0..3), vec(route(), 0..3), any::<Option<u32>>()).prop_map(
        |(host, container, addresses, routes, mtu)| Response::Added(Added { host, container, addresses, routes, mtu }),
    );
    let failed = any::<(u32, String, String)>()
        .prop_map(|(code, msg, details)| Response::Failed(Failure { code: Code(code), msg, details }));
    prop_oneof![added, Just(Response::Done), failed]
}

/// A frame taken in by pieces of this size: nothing is there before the last.
fn read<T: DeserializeOwned>(frame: &[u8], piece: usize) -> T {
    let mut incoming = Incoming::default();
    for part in frame.chunks(piece) {
        assert!(incoming.message::<T>().unwrap().is_none());
        incoming.extend(part).unwrap();
    }
    incoming.message().unwrap().unwrap()
}

proptest! {
    #[test]
    fn requests_come_back(request in request(), piece in 1..600_usize) {
        prop_assert_eq!(read::<Request>(&encode(&request).unwrap(), piece), request);
    }

    #[test]
    fn responses_come_back(response in response(), piece in 1..600_usize) {
        prop_assert_eq!(read::<Response>(&encode(&response).unwrap(), piece), response);
    }

    #[test]
    fn any_octets_are_a_message_or_an_error(pieces in vec(vec(any::<u8>(), 0..40), 0..8)) {
        let mut incoming = Incoming::default();
        for piece in pieces {
            if incoming.extend(&piece).is_err() {
                break;
            }
            let _ = incoming.message::<Request>();
            let _ = incoming.message::<Response>();
        }
    }

    #[test]
    fn any_body_is_a_message_or_an_error(body in "\\PC*") {
        let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        frame.extend(body.as_bytes());
        let mut incoming = Incoming::default();
        incoming.extend(&frame).unwrap();
        let _ = incoming.message::<Request>();
        let _ = incoming.message::<Response>();
    }
}

#[test]
fn a_length_above_the_bound_is_refused_before_its_body() {
    let mut incoming = Incoming::default();
    let length = u32::try_from(MAX_BODY + 1).unwrap();
    let refused = incoming.extend(&length.to_le_bytes()).unwrap_err();
    assert!(matches!(refused, FrameError::TooLong(n) if n == MAX_BODY + 1), "{refused}");
    assert!(Incoming::default().extend(&u32::MAX.to_le_bytes()).is_err());
}

#[test]
fn a_message_above_the_bound_makes_no_frame() {
    // The quotes are part of the body.
    assert_eq!(encode(&"x".repeat(MAX_BODY - 2)).unwrap().len(), HEADER + MAX_BODY);
    assert!(matches!(encode(&"x".repeat(MAX_BODY - 1)), Err(FrameError::TooLong(_))));
}

#[test]
fn a_second_frame_is_refused() {
    let mut frame = encode(&Response::Done).unwrap();
    frame.push(0);
    assert!(matches!(Incoming::default().extend(&frame), Err(FrameError::Trailing(1))));
}

#[test]
fn fields_of_other_versions_are_passed_over_or_empty() {
    let body = br#"{"version":9,"command":"GC","mode":"wire","network":"n","novel":{"x":1}}"#;
    let request: Request = serde_json::from_slice(body).unwrap();
    assert_eq!((request.version, request.command, request.patience_ms), (9, Command::Gc, 0));
    assert!(request.container.is_empty() && request.valid.is_empty());
}

#[test]
fn what_goes_over_the_socket_is_as_documented() {
    let failure = Failure::new(Code::TRY_AGAIN, "later").details("soon");
    assert_eq!(
        serde_json::to_string(&Response::Failed(failure)).unwrap(),
        r#"{"failed":{"code":11,"msg":"later","details":"soon"}}"#
    );
    assert_eq!(serde_json::to_string(&Response::Done).unwrap(), r#""done""#);
    assert_eq!(serde_json::to_string(&Command::Gc).unwrap(), r#""GC""#);
}
