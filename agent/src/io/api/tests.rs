use petiole_node::Input;
use petiole_node::view::PoolView;
use tokio::sync::mpsc;

use super::*;
use crate::cli::client;

/// A node that answers one question.
fn desk(answer: impl FnOnce(Query) -> Result<Answer, String> + Send + 'static) -> Operators {
    let (inputs, mut asked) = mpsc::channel(1);
    let operators = Operators::new(inputs);
    let replies = operators.clone();
    tokio::spawn(async move {
        if let Some(Input::Query { id, query }) = asked.recv().await {
            replies.reply(id, answer(query));
        }
    });
    operators
}

fn serve_at(dir: &tempfile::TempDir, operators: Operators) -> std::path::PathBuf {
    let socket = dir.path().join("api.sock");
    tokio::spawn(serve(bind(&socket).unwrap(), operators, std::future::pending()));
    socket
}

#[tokio::test]
async fn questions_reach_the_node_and_answers_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let operators = desk(|query| {
        assert_eq!(query, Query::Why("10.123.128.0/26".parse().unwrap()));
        Ok(Answer::Addresses(vec!["10.123.128.1/32".parse().unwrap()]))
    });
    let socket = serve_at(&dir, operators);
    let answer = client::get(&socket, "/v1/why?prefix=10.123.128.0%2F26").await.unwrap();
    assert_eq!(answer, serde_json::json!({"addresses": ["10.123.128.1/32"]}));
}

#[tokio::test]
async fn a_refusal_keeps_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let socket = serve_at(&dir, desk(|_| Err("no block yet; create a pool".into())));
    let body = serde_json::to_value(AssignRequest { handle: "h".into(), families: vec![Family::V4] }).unwrap();
    let error = client::post(&socket, "/v1/ipam/assign", &body).await.unwrap_err();
    assert_eq!(error.to_string(), "no block yet; create a pool");
}

#[tokio::test]
async fn bad_requests_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let socket = serve_at(
        &dir,
        desk(|_| {
            Ok(Answer::Blocks(petiole_node::view::BlocksView { pools: Vec::<PoolView>::new(), blocks: Vec::new() }))
        }),
    );
    let error = client::get(&socket, "/v1/why?prefix=10.0.0.1%2F8").await.unwrap_err();
    assert!(error.to_string().contains("did you mean 10.0.0.0/8?"), "{error}");
    let error = client::get(&socket, "/v1/bgp/routes?table=nonsense").await.unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
    let error = client::get(&socket, "/v2/status").await.unwrap_err();
    assert!(error.to_string().contains("docs/cli.md"), "{error}");
}

#[tokio::test]
async fn the_socket_of_a_dead_agent_is_replaced_and_its_mode_is_0660() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    drop(bind(&socket).unwrap());
    assert!(socket.exists());
    let _listener = bind(&socket).unwrap();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
}
