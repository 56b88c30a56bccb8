//! Ways to weaken the allocator: what a transaction is bound to, and which address is free.

use super::Mutant;

const BLOCK: &str = "ipam/src/block.rs";
const PLAN: &str = "ipam/src/plan.rs";
const RECLAIM: &str = "ipam/src/reclaim.rs";

/// Any of the crate's, the simulation among them.
pub(super) const TESTS: &[&str] = &[];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "a block is claimed that somebody else has claimed meanwhile",
        changes: &[(PLAN, "Candidate::New(_) => (Txn::new().absent(&key), ", "Candidate::New(_) => (Txn::new(), ")],
    },
    Mutant {
        what: "a block without an owner is taken over as it was, not as it is",
        changes: &[(PLAN, "(Txn::new().unchanged(&key, entry.mod_revision), value)", "(Txn::new(), value)")],
    },
    Mutant {
        what: "a claim does not look at the affinity",
        changes: &[(PLAN, "            None => txn.absent(&key),\n", "            None => txn,\n")],
    },
    Mutant {
        what: "requests are not bound to this life",
        changes: &[(PLAN, "batch.into_txn().map(|txn| self.bind(txn));", "batch.into_txn();")],
    },
    Mutant {
        what: "claims and repairs are not bound to this life",
        changes: &[(PLAN, "{ txn } else { self.bind(txn) };", "{ txn } else { txn };")],
    },
    Mutant {
        what: "an answer rests on what may still be carried out",
        changes: &[(
            PLAN,
            "Planned::Reply(Ok(reply)) if !self.fence.is_empty() || !planned.is_empty() => {",
            "Planned::Reply(Ok(reply)) if !planned.is_empty() => {",
        )],
    },
    Mutant {
        what: "what has no answer yet is not read before it is decided about",
        changes: &[(PLAN, "        self.read_back();\n", "        self.doubts.clear();\n")],
    },
    Mutant {
        what: "an address is assigned and stays free",
        changes: &[(BLOCK, "    block.unallocated.remove(at);\n", "    let _ = at;\n")],
    },
    Mutant {
        what: "the address that was released last is assigned first",
        changes: &[(BLOCK, "block.unallocated.iter().copied().find(", "block.unallocated.iter().copied().rev().find(")],
    },
    Mutant {
        what: "a reserved address is assigned",
        changes: &[(
            BLOCK,
            "|a| !reserved.iter().any(|r| r.contains_addr(a))",
            "|a| a.is_ipv4() || !reserved.is_empty()",
        )],
    },
    Mutant {
        what: "no address cools down",
        changes: &[(BLOCK, "released.abs_diff(wall) >= cooldown", "released.abs_diff(wall) >= cooldown.min(0)")],
    },
    Mutant {
        what: "an address waits for a clock that was ahead",
        changes: &[(BLOCK, "released.abs_diff(wall) >= cooldown", "released.saturating_add(cooldown) <= wall")],
    },
    Mutant {
        what: "a forgotten node's block is freed whatever became of it",
        changes: &[(
            RECLAIM,
            "Txn::new().unchanged(Key::forgotten(node), note).unchanged(&key, kv.mod_revision);",
            "Txn::new().unchanged(Key::forgotten(node), note);",
        )],
    },
    Mutant {
        what: "a node is forgotten that took its note away",
        changes: &[(
            RECLAIM,
            "Txn::new().unchanged(Key::forgotten(node), note).unchanged(&key, kv.mod_revision);",
            "Txn::new().unchanged(&key, kv.mod_revision);",
        )],
    },
];
