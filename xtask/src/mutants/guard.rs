//! Ways to weaken the export guard, and the last step before a connection.

use super::Mutant;

const GUARD: &str = "bgp/src/guard.rs";

/// The tests that must notice: the guard's own, and those of the last step.
pub(super) const TESTS: &[&str] = &["guard::", "nothing_foreign", "what_the_wire_announces"];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "a proof covers any prefix",
        changes: &[(GUARD, "    if prefix != proven {\n", "    if false {\n")],
    },
    Mutant {
        what: "an address is borrowed from any block",
        changes: &[(GUARD, "&& !block.contains_addr(*address)", "&& block.contains_addr(*address)")],
    },
    Mutant {
        what: "the default route is announced",
        changes: &[(GUARD, "    if prefix.is_default() {\n", "    if false {\n")],
    },
    Mutant {
        what: "what is not routable is announced",
        changes: &[(GUARD, "    if wire::is_martian(&prefix) {\n", "    if false {\n")],
    },
    Mutant {
        what: "what is announced is built without a look at its proof",
        changes: &[(GUARD, "        verify(prefix, &proof)?;\n", "")],
    },
    Mutant {
        what: "only the first message is read back",
        changes: &[(GUARD, "        rest = tail;\n", "        let _ = tail;\n        rest = &[];\n")],
    },
    Mutant {
        what: "UPDATEs are not read back",
        changes: &[(GUARD, "        if kind == MessageType::Update as u8 {\n", "        if kind != kind {\n")],
    },
    Mutant {
        what: "the classic field is not read back",
        changes: &[(GUARD, "    check_nlri(Family::V4, nlri, originated)?;\n", "    let _ = nlri;\n")],
    },
    Mutant {
        what: "MP_REACH_NLRI is not read back",
        changes: &[(GUARD, "        if *code == wire::code::MP_REACH_NLRI {\n", "        if *code == 0 {\n")],
    },
    Mutant {
        what: "long attributes are read with a short length",
        changes: &[(
            GUARD,
            "        let (value, next) = if flags & 0x10 != 0 {\n",
            "        let (value, next) = if flags & 0x10 == 0xff {\n",
        )],
    },
    Mutant {
        what: "what is left behind the attributes passes",
        changes: &[(GUARD, "if attributes.is_empty() { Ok(()) } else { Err(cut(\"an attribute\")) }", "Ok(())")],
    },
    Mutant {
        what: "families that are not ours pass",
        changes: &[(
            GUARD,
            "return Err(GuardError::Unreadable(format!(\"{afi:?} {safi:?} is not ours to announce\")))",
            "{ let _ = (afi, safi); return Ok(()) }",
        )],
    },
    Mutant {
        what: "prefixes with host bits pass as what they would be without",
        changes: &[(GUARD, "let prefix = Prefix::new(addr, *len)", "let prefix = Prefix::truncated(addr, *len)")],
    },
    Mutant {
        what: "prefixes that are not in the set pass",
        changes: &[(
            GUARD,
            "let ours = originated.get(&prefix).ok_or(GuardError::NotOriginated { prefix })?;",
            "let Some(ours) = originated.get(&prefix) else { continue };",
        )],
    },
    Mutant {
        what: "a set that lies about itself is believed",
        changes: &[
            (GUARD, "        if ours.prefix != prefix {\n", "        if false {\n"),
            (GUARD, "        verify(prefix, &ours.proof)?;\n", ""),
        ],
    },
    Mutant {
        what: "nothing is held against the guard before it leaves",
        changes: &[(
            "bgp/src/speaker/outbound.rs",
            "guard::check(&bytes, &self.originated)",
            "guard::check(&[], &self.originated)",
        )],
    },
];
