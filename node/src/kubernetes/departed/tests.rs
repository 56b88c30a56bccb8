use super::*;

const OBJECT: &str = "object-4";

fn dossier() -> Dossier {
    let record = Record { object: OBJECT.to_owned(), cluster: "c1".to_owned() };
    Dossier { record, recorded: 7, addresses: vec!["10.122.0.14/32".parse().unwrap()] }
}

/// One silent node of four, and what the API says of it at each time; until it is forgotten, or for an hour.
struct Run {
    departed: Departed,
    now: Duration,
    asked: Vec<Duration>,
    forgotten: Vec<Duration>,
}

impl Run {
    fn new(seed: u8) -> Self {
        Self::with(Duration::from_secs(60), seed)
    }

    fn with(grace: Duration, seed: u8) -> Self {
        let departed = Departed::new(grace, [seed; 32]);
        Self { departed, now: Duration::ZERO, asked: Vec::new(), forgotten: Vec::new() }
    }

    fn second(
        &mut self,
        silent: Option<(&[&str], usize)>,
        record: Option<Dossier>,
        answer: impl Fn(Duration) -> Option<(&'static str, bool)>,
    ) {
        let silent = silent.map(|(s, of)| (s.iter().map(|s| (*s).to_owned()).collect(), of));
        for deed in self.departed.turn(silent, self.now) {
            match deed {
                Deed::Read(node) => self.departed.handle_read(&node, record.clone(), self.now),
                Deed::Ask(object) => {
                    self.asked.push(self.now);
                    for deed in self.departed.handle_answer(&object, answer(self.now), self.now) {
                        let Deed::Forget(_, found) = deed else { panic!("{deed:?}") };
                        assert_eq!(Some(found), record);
                        self.forgotten.push(self.now);
                    }
                }
                Deed::Forget(..) => panic!("without an answer"),
            }
        }
        self.now += Duration::from_secs(1);
    }

    fn hour(
        mut self,
        silent: Option<(&[&str], usize)>,
        record: Option<Dossier>,
        answer: impl Fn(Duration) -> Option<(&'static str, bool)>,
    ) -> Self {
        while self.now < Duration::from_secs(3600) && self.forgotten.is_empty() {
            self.second(silent, record.clone(), &answer);
        }
        self
    }
}

const ONE: Option<(&[&str], usize)> = Some((&["worker4"], 4));

#[test]
fn a_deleted_node_is_forgotten_after_the_whole_grace_time() {
    for seed in 0..50 {
        let run = Run::new(seed).hour(ONE, Some(dossier()), |_| Some(("c1", false)));
        let [at] = run.forgotten[..] else { panic!("{run:?}", run = run.forgotten) };
        let [silence, spread, grace, ask] = [30, 30, 60, 10].map(Duration::from_secs);
        assert!(at >= silence + grace && at <= silence + spread + grace + ask * 2, "{at:?}");
        assert!(at >= run.asked[0] + grace && run.asked.len() >= 5, "{:?}", run.asked);
    }
}

#[test]
fn another_grace_time_shortens_all_of_it() {
    for seed in 0..50 {
        let run = Run::with(Duration::from_secs(12), seed).hour(ONE, Some(dossier()), |_| Some(("c1", false)));
        let [at] = run.forgotten[..] else { panic!("{run:?}", run = run.forgotten) };
        assert!(at >= Duration::from_secs(18) && at <= Duration::from_secs(12 + 12 + 4), "{at:?}");
        assert!(run.asked.len() >= 5, "{:?}", run.asked);
    }
}

#[test]
fn a_node_that_is_only_silent_is_not_and_the_api_is_asked_once_a_minute() {
    let run = Run::new(1).hour(ONE, Some(dossier()), |_| Some(("c1", true)));
    assert_eq!(run.forgotten, []);
    assert!(run.asked.len() > 20 && run.asked.len() <= 60, "{}", run.asked.len());
}

#[test]
fn nothing_but_the_nodes_own_cluster_says_that_it_is_gone() {
    // An API server with an empty store has another identity.
    let run = Run::new(2).hour(ONE, Some(dossier()), |_| Some(("c2", false)));
    assert_eq!(run.forgotten, []);
    // A node that was in no cluster is not asked about at all.
    let run = Run::new(3).hour(ONE, None, |_| Some(("c1", false)));
    assert_eq!((run.forgotten, run.asked), (Vec::new(), Vec::new()));
}

#[test]
fn an_answer_that_stays_out_begins_the_grace_time_anew() {
    let away = |now: Duration| (now.as_secs() / 40).is_multiple_of(2).then_some(("c1", false));
    assert_eq!(Run::new(4).hour(ONE, Some(dossier()), away).forgotten, []);
}

#[test]
fn a_node_made_again_within_the_grace_time_stays() {
    let again = |now: Duration| Some(("c1", now.as_secs() / 45 % 2 == 1));
    assert_eq!(Run::new(5).hour(ONE, Some(dossier()), again).forgotten, []);
}

#[test]
fn a_node_that_is_heard_of_or_leaves_that_say_nothing_begin_all_anew() {
    for silent in [None, Some((&[][..], 4))] {
        let mut run = Run::new(6);
        while run.now < Duration::from_secs(3600) {
            let heard = run.now.as_secs() % 85 == 84;
            run.second(if heard { silent } else { ONE }, Some(dossier()), |_| Some(("c1", false)));
        }
        assert_eq!(run.forgotten, []);
    }
}

#[test]
fn where_most_nodes_are_silent_none_is_forgotten_and_that_is_said() {
    let most: Option<(&[&str], usize)> = Some((&["worker2", "worker3", "worker4"], 4));
    let run = Run::new(7).hour(most, Some(dossier()), |_| Some(("c1", false)));
    assert_eq!((run.forgotten, run.asked), (Vec::new(), Vec::new()));
    assert!(run.departed.problem().unwrap().contains("3 of 4 nodes"));
    // Of two nodes, one may be.
    let run = Run::new(8).hour(Some((&["worker4"], 2)), Some(dossier()), |_| Some(("c1", false)));
    assert_eq!(run.forgotten.len(), 1);
}
