use proptest::prelude::*;

use super::*;

#[test]
fn cidrs_are_read_with_their_host_bits() {
    let cidr: Cidr = "10.1.2.3/24".parse().unwrap();
    assert_eq!((cidr.address(), cidr.length()), ("10.1.2.3".parse().unwrap(), 24));
    assert_eq!(Cidr::host("fd00::3".parse().unwrap()).to_string(), "fd00::3/128");
    for wrong in ["10.1.2.3", "10.1.2.3/", "10.1.2.3/+4", "10.1.2.3/33", "fd00::/129", "/24", "", "10.1.2.3/24/1"] {
        assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
    }
    assert_eq!("10.1.2.3/33".parse::<Cidr>().unwrap_err().to_string(), "/33 is too long for 10.1.2.3: at most /32");
}

#[test]
fn macs_are_read_with_colons_or_hyphens() {
    let mac = Mac([2, 0, 0x5e, 0x10, 0, 0xff]);
    assert_eq!("02:00:5e:10:00:ff".parse(), Ok(mac));
    assert_eq!("02-00-5E-10-00-FF".parse(), Ok(mac));
    assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
    for wrong in
        ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:01", "2:0:5e:10:0:ff", "02:00:5e:10:00:+f", "02:00-5e:10:00:ff"]
    {
        assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(address: IpAddr, length in 0..=128_u8, octets: [u8; 6]) {
        prop_assert_eq!(Mac(octets).to_string().parse(), Ok(Mac(octets)));
        if let Ok(cidr) = Cidr::new(address, length) {
            prop_assert_eq!(cidr.to_string().parse(), Ok(cidr));
            let json = serde_json::to_string(&cidr).unwrap();
            prop_assert_eq!(serde_json::from_str::<Cidr>(&json).unwrap(), cidr);
        }
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = text.parse::<Cidr>();
        let _ = text.parse::<Mac>();
    }
}
