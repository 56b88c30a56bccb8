//! The shapes in `docs/cli.md` are those of the code: every example reads as its type and prints back the same.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share fail like tests"
)]

use petiole::io::api::Addresses;
use petiole_node::view::{
    AdvertisedView, BlocksView, CheckView, DrainView, FibEntry, ForgottenView, OrderView, PathView, PeerView, ShowView,
    StatusView, TraceView, WhyView,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The example behind `<!-- NAME -->`.
fn example(name: &str) -> Value {
    let text = include_str!("../../docs/cli.md");
    let marker = format!("<!-- {name} -->\n```json\n");
    let (_, rest) = text.split_once(&marker).unwrap_or_else(|| panic!("docs/cli.md has no example of {name}"));
    let (json, _) = rest.split_once("\n```").unwrap();
    serde_json::from_str(json).unwrap_or_else(|e| panic!("the example of {name} is no JSON: {e}"))
}

fn same<T: Serialize + DeserializeOwned>(name: &str) {
    let shown = example(name);
    let value: T =
        serde_json::from_value(shown.clone()).unwrap_or_else(|e| panic!("the example of {name} is none: {e}"));
    let printed = serde_json::to_value(value).unwrap();
    assert_eq!(printed, shown, "{name} is printed otherwise than docs/cli.md shows");
}

#[test]
fn every_example_is_what_the_code_prints() {
    same::<StatusView>("StatusView");
    same::<Vec<PeerView>>("[PeerView]");
    same::<Vec<PathView>>("[PathView]");
    same::<Vec<TraceView>>("[TraceView]");
    same::<Vec<AdvertisedView>>("[AdvertisedView]");
    same::<BlocksView>("BlocksView");
    same::<CheckView>("CheckView");
    same::<ShowView>("ShowView");
    same::<ForgottenView>("ForgottenView");
    same::<Addresses>("Addresses");
    same::<Vec<FibEntry>>("[FibEntry]");
    same::<WhyView>("WhyView");
    same::<OrderView>("OrderView");
    same::<DrainView>("DrainView");
}

#[test]
fn mistakes_of_a_configuration_look_as_shown() {
    let text = "[node]\nroles = [\"wroker\"]\n";
    let errors =
        petiole_node::config::load(text, "petiole.toml", &petiole_node::config::Facts::new("worker1")).unwrap_err();
    let mut printed = serde_json::to_value(&errors).unwrap();
    let mut shown: Value = {
        let text = include_str!("../../docs/cli.md");
        let (_, rest) = text.split_once("\"errors\": ").unwrap();
        let (list, _) = rest.split_once(",\n  \"warnings\"").unwrap();
        serde_json::from_str(list).unwrap()
    };
    // The words are for people, and may change.
    for list in [&mut printed, &mut shown] {
        assert!(list[0]["message"].take().as_str().unwrap().contains("\"wroker\""));
    }
    assert_eq!(printed, shown);
}
