//! Communities on what we announce.

use super::*;

fn announced(communities: OutCommunities, family: Family) -> Attributes {
    let (next_hop, prefix) = match family {
        Family::V4 => ("10.0.0.1", "10.1.0.0/24"),
        Family::V6 => ("fd00::1", "fd00:1::/64"),
    };
    let base = OutAttributes::new(4_200_000_011, next_hop.parse().unwrap());
    let prefixes: Vec<Prefix> = vec![prefix.parse().unwrap(); 3000];
    let mut read = None;
    for (four_octet_as, max_message_len) in [(true, 4096), (true, 65535), (false, 4096)] {
        let out =
            OutAttributes { four_octet_as, max_message_len, communities: communities.clone().into(), ..base.clone() };
        let mut bytes = Vec::new();
        let taken = out.announce(&prefixes, &mut bytes);
        assert!(taken >= 1 && bytes.len() <= max_message_len, "{taken} prefixes in {} octets", bytes.len());
        let (_, body, _) = split_message(&bytes).unwrap();
        let ctx = UpdateContext { four_octet_as, ..context() };
        let update = Update::decode(&Sections::split(body).unwrap(), &ctx).unwrap();
        assert_eq!(update.faults, []);
        let announcement = update.announced.or(update.mp_announced).unwrap();
        assert_eq!(announcement.field.count(), taken);
        assert_eq!(announcement.attributes.as_path, AsPath::sequence(&[4_200_000_011]));
        read = Some(announcement.attributes);
    }
    read.unwrap()
}

#[test]
fn rfc1997_communities_are_sent_sorted_and_once() {
    let communities = OutCommunities::new([65001 << 16 | 7, 3, 65001 << 16 | 7], [], []).unwrap();
    for family in Family::BOTH {
        let read = announced(communities.clone(), family);
        assert_eq!(&*read.communities, [3, 65001 << 16 | 7]);
        assert!(read.extended_communities.is_empty() && read.large_communities.is_empty());
    }
    let mut bytes = Vec::new();
    let out = OutAttributes {
        communities: OutCommunities::new([0xffff_0000], [], []).unwrap().into(),
        ..OutAttributes::new(65001, "10.0.0.1".parse().unwrap())
    };
    out.announce(&["10.1.0.0/24".parse().unwrap()], &mut bytes);
    let octets = [0xc0, 8, 4, 0xff, 0xff, 0, 0];
    assert!(bytes.windows(octets.len()).any(|w| w == octets), "{bytes:x?}");
}

#[test]
fn rfc4360_and_rfc8092_extended_and_large_communities_are_sent() {
    let extended = [[0, 2, 0xfd, 0xe9, 0, 0, 0, 9], [0, 2, 0xfd, 0xe9, 0, 0, 0, 1]];
    let communities = OutCommunities::new([], extended, [[65001, 2, 3], [65001, 1, 2], [65001, 2, 3]]).unwrap();
    for family in Family::BOTH {
        let read = announced(communities.clone(), family);
        assert_eq!(&*read.extended_communities, [extended[1], extended[0]]);
        assert_eq!(&*read.large_communities, [[65001, 1, 2], [65001, 2, 3]]);
    }
}

#[test]
fn many_communities_have_an_extended_length_and_too_many_are_refused() {
    for family in Family::BOTH {
        let most = OutCommunities::new(0..750, [], []).unwrap();
        assert_eq!(announced(most, family).communities.len(), 750);
    }
    assert_eq!(OutCommunities::new(0..751, [], []), Err(TooManyCommunities { octets: 3004 }));
    assert!(OutCommunities::new(std::iter::repeat_n(1, 10_000), [], []).is_ok());
}
