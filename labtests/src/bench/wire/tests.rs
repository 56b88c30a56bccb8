use proptest::prelude::*;

use super::*;

fn attribute(code: u8, value: &[u8]) -> Vec<u8> {
    [&[0x80, code, u8::try_from(value.len()).unwrap()], value].concat()
}

fn update_message(withdrawn: &[u8], attributes: &[u8], reachable: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    message(2, &[&length(withdrawn)[..], withdrawn, &length(attributes)[..], attributes, reachable].concat())
}

#[test]
fn both_families_are_read_from_one_update() {
    let reach = [&[0, 2, 1, 16][..], &[0; 16], &[0], &[32, 0xfd, 0, 1, 0x23]].concat();
    let attributes =
        [attribute(1, &[0]), attribute(MP_REACH, &reach), attribute(MP_UNREACH, &[0, 2, 1, 8, 0xfd])].concat();
    let mut buffer = update_message(&[17, 10, 123, 0x80], &attributes, &[26, 10, 123, 129, 0x40, 0]);
    buffer.extend(keepalive());
    let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let announced = list(&["10.123.129.64/26", "0.0.0.0/0", "fd00:123::/32"]);
    let withdrawn = list(&["10.123.128.0/17", "fd00::/8"]);
    assert_eq!(take(&mut buffer), Ok(Some(Message::Update { announced, withdrawn })));
    assert_eq!(take(&mut buffer), Ok(Some(Message::Keepalive)));
    assert_eq!(take(&mut buffer), Ok(None));
}

#[test]
fn half_a_message_waits_and_rubbish_is_refused() {
    let whole = open(65_001, Ipv4Addr::new(10, 121, 0, 11), 90);
    let mut buffer = whole[..whole.len() - 1].to_vec();
    assert_eq!(take(&mut buffer), Ok(None));
    buffer.push(whole[whole.len() - 1]);
    assert_eq!(take(&mut buffer), Ok(Some(Message::Open)));
    assert!(take(&mut vec![0; 19]).is_err());
    assert!(take(&mut update_message(&[33, 1, 2, 3, 4, 5], &[], &[])).is_err());
    assert!(take(&mut update_message(&[], &[0x80, MP_REACH, 200], &[])).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..6) {
        let mut buffer = message(kind, &body);
        let _read = take(&mut buffer);
        let mut buffer = body;
        let _read = take(&mut buffer);
    }
}
