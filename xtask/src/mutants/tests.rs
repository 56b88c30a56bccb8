use super::*;

#[test]
fn every_mutation_changes_one_place_of_the_sources_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for mutant in SETS.iter().flat_map(|set| set.mutants) {
        for (file, from, to) in mutant.changes {
            let text = fs::read_to_string(root.join(file)).unwrap();
            let changed = mutated(&text, from, to, file).unwrap_or_else(|e| panic!("{}: {e}", mutant.what));
            assert_ne!(changed, text, "{}", mutant.what);
        }
    }
}
