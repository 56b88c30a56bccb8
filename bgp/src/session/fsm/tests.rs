//! The whole table: every state with every input.

use super::*;

fn many() -> TooManyPrefixes {
    TooManyPrefixes { family: petiole_prefix::Family::V4, limit: 10, restart_after: None }
}

fn negotiated() -> Negotiated {
    Negotiated::sample()
}

fn states() -> [(&'static str, State); 6] {
    [
        ("Connect", State::Connect),
        ("Parked", State::Parked),
        ("Delaying", State::Delaying),
        ("OpenSent", State::OpenSent),
        ("OpenConfirm", State::OpenConfirm(negotiated())),
        ("Established", State::Established(negotiated())),
    ]
}

fn inputs() -> [(&'static str, Input); 23] {
    [
        ("connected", Input::Connected),
        ("with delay", Input::ConnectedToDelay),
        ("delay over", Input::DelayOver),
        ("behind other", Input::ConnectedBehindOther),
        ("other gone", Input::OtherGone),
        ("connect failed", Input::ConnectFailed("refused".to_owned())),
        ("connect timeout", Input::ConnectTimeout),
        ("tcp closed", Input::TcpClosed(None)),
        ("tcp broken", Input::TcpClosed(Some("reset".to_owned()))),
        ("OPEN", Input::Open(negotiated())),
        ("KEEPALIVE", Input::Keepalive),
        ("UPDATE", Input::Update),
        ("ROUTE-REFRESH", Input::RouteRefresh),
        ("NOTIFICATION", Input::Notification(Notification::new(ErrorCode::Cease, 0))),
        ("malformed", Input::Malformed(Notification::new(ErrorCode::Update, 1))),
        ("hold expired", Input::HoldExpired),
        ("keepalive due", Input::KeepaliveDue),
        ("send hold", Input::SendHoldExpired),
        ("collision lost", Input::CollisionLost),
        ("disabled", Input::Stop(StopReason::Disabled(None))),
        ("cleared", Input::Stop(StopReason::Cleared(None))),
        ("too many", Input::Stop(StopReason::TooManyPrefixes(many()))),
        ("link down", Input::Stop(StopReason::LinkDown)),
    ]
}

fn output(output: &Output) -> String {
    match output {
        Output::SendNotification(n) => format!("{}/{}", n.code, n.subcode),
        Output::SendOpen => "open".to_owned(),
        Output::SendKeepalive => "keepalive".to_owned(),
        Output::StartOpenHold => "open-hold".to_owned(),
        Output::StartDelay => "delay".to_owned(),
        Output::RestartHold => "hold".to_owned(),
        Output::Establish => "establish".to_owned(),
        Output::Deliver => "deliver".to_owned(),
        Output::Close => "close".to_owned(),
        Output::Reset => "reset".to_owned(),
    }
}

fn line(state: State, input: Input) -> String {
    let step = step(state.clone(), input);
    let next = match &step.next {
        Ok(next) if *next == state => "=".to_owned(),
        Ok(State::Connect) => "Connect".to_owned(),
        Ok(State::Parked) => "Parked".to_owned(),
        Ok(State::Delaying) => "Delaying".to_owned(),
        Ok(State::OpenSent) => "OpenSent".to_owned(),
        Ok(State::OpenConfirm(_)) => "OpenConfirm".to_owned(),
        Ok(State::Established(_)) => "Established".to_owned(),
        Err(_) => "gone".to_owned(),
    };
    let outputs: Vec<String> = step.outputs.iter().map(output).collect();
    format!("{next} {}", outputs.join(" ")).trim().to_owned()
}

/// What RFC 4271 section 8.2.2 says, with RFC 6608's subcodes, in our words. `=` stays in the state.
const TABLE: &str = "
                 Connect                  | Parked                   | Delaying                                  | OpenSent                   | OpenConfirm      | Established
connected        OpenSent open open-hold  | =                        | =                                         | =                          | =                | =
with delay       Delaying delay           | =                         | =                                         | =                          | =                 | =
delay over       =                        | =                         | OpenSent open open-hold                   | =                          | =                 | =
behind other     Parked                   | =                        | Parked                                    | =                          | =                | =
other gone       =                        | OpenSent open open-hold  | =                                         | =                          | =                | =
connect failed   gone                     | =                        | =                                         | =                          | =                | =
connect timeout  gone reset               | =                        | =                                         | =                          | =                | =
tcp closed       gone                     | gone                     | gone                                      | gone                       | gone             | gone
tcp broken       gone                     | gone                     | gone                                      | gone                       | gone             | gone
OPEN             =                        | =                        | OpenConfirm open open-hold keepalive hold | OpenConfirm keepalive hold | gone 5/2 close   | gone 5/3 close
KEEPALIVE        =                        | =                        | gone 5/0 close                            | gone 5/1 close             | Established hold establish | = hold
UPDATE           =                        | =                        | gone 5/0 close                            | gone 5/1 close             | gone 5/2 close   | = hold deliver
ROUTE-REFRESH    =                        | =                        | gone 5/0 close                            | gone 5/1 close             | gone 5/2 close   | = hold deliver
NOTIFICATION     =                        | =                        | gone close                                | gone close                 | gone close       | gone close
malformed        =                        | =                        | gone 3/1 close                            | gone 3/1 close             | gone 3/1 close   | gone 3/1 close
hold expired     =                        | =                        | =                                         | gone 4/0 close             | gone 4/0 close   | gone 4/0 close
keepalive due    =                        | =                        | =                                         | =                          | = keepalive      | = keepalive
send hold        =                        | =                         | =                                         | =                          | =                 | gone reset
collision lost   gone reset               | gone 6/7 close           | gone 6/7 close                            | gone 6/7 close             | gone 6/7 close   | gone 6/7 close
disabled         gone reset               | gone 6/2 close           | gone 6/2 close                            | gone 6/2 close             | gone 6/2 close   | gone 6/2 close
cleared          gone reset               | gone 6/4 close            | gone 6/4 close                            | gone 6/4 close             | gone 6/4 close    | gone 6/4 close
too many         gone reset               | gone 6/1 close            | gone 6/1 close                            | gone 6/1 close             | gone 6/1 close    | gone 6/1 close
link down        gone reset               | gone reset               | gone reset                                | gone reset                 | gone reset       | gone reset
";

#[test]
fn section_8_2_2_every_state_and_input() {
    let rows: Vec<&str> = TABLE.trim_matches('\n').lines().skip(1).collect();
    assert_eq!(rows.len(), inputs().len());
    for (row, (name, input)) in rows.iter().zip(inputs()) {
        let (label, cells) = row.split_at(17);
        assert_eq!(label.trim(), name);
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{name}");
        for (cell, (state_name, state)) in cells.iter().zip(states()) {
            assert_eq!(line(state, input.clone()), *cell, "{name} in {state_name}");
        }
    }
}

#[test]
fn nothing_is_sent_to_a_neighbour_whose_link_is_down() {
    for (_, state) in states() {
        let step = step(state, Input::Stop(StopReason::LinkDown));
        assert_eq!(step.outputs, [Output::Reset]);
        assert_eq!(step.next, Err(DownReason::LinkDown));
    }
}

#[test]
fn every_end_says_why() {
    for (_, state) in states() {
        for (_, input) in inputs() {
            if let Err(reason) = step(state.clone(), input).next {
                assert!(!reason.to_string().is_empty());
            }
        }
    }
}

#[test]
fn rfc8538_3_1_what_is_not_to_come_back_is_said_with_a_hard_reset_where_both_know_it() {
    let state = || State::Established(Negotiated { notification_restart: true, ..negotiated() });
    let said = |why: StopReason| match step(state(), Input::Stop(why)).outputs.first() {
        Some(Output::SendNotification(n)) => (n.subcode, n.inside_hard_reset().map(|inside| inside.subcode)),
        other => panic!("{other:?}"),
    };
    let text = ShutdownText::new("bye").ok();
    assert_eq!(said(StopReason::Disabled(text.clone())), (9, Some(2)));
    assert_eq!(said(StopReason::Stopped(text.clone())), (9, Some(2)));
    assert_eq!(said(StopReason::Deconfigured), (9, Some(3)));
    assert_eq!(said(StopReason::TooManyPrefixes(many())), (9, Some(1)));
    assert_eq!(said(StopReason::Cleared(text)), (4, None));
    assert_eq!(said(StopReason::ConfigChanged), (6, None));
}
