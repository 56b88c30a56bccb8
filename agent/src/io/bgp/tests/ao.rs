//! A leaf with TCP-AO on the kernel that is there: most have none, and then nobody is spoken to.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use petiole_node::config::{TcpAoAlgorithm, TcpAoSettings};

use super::super::signature::Signature;
use super::*;

#[tokio::test]
async fn rfc5925_without_it_in_the_kernel_there_is_no_session_and_the_reason_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("leaf.key");
    fs::write(&key_file, "secret").unwrap();
    fs::set_permissions(&key_file, Permissions::from_mode(0o600)).unwrap();
    let ao = TcpAoSettings { key_file, send_id: 1, recv_id: 1, algorithm: TcpAoAlgorithm::HmacSha1 };
    let settings = PeerSettings { tcp_ao: Some(ao), ..leaf("127.0.1.29") };
    let Some(words) = Signature::wanted(&settings).unwrap().0.impossible() else {
        println!("not checked: this kernel has TCP-AO");
        return;
    };
    let listener = TcpListener::bind("127.0.1.29:0").await.unwrap();
    let node: SocketAddr = {
        let probe = TcpListener::bind("127.0.1.30:0").await.unwrap();
        probe.local_addr().unwrap()
    };
    let mut rig = Rig::with(Some(node), vec![settings]);
    rig.connections.act(Action::Connect {
        conn: CONN,
        peer: PeerId::of_address("127.0.1.29".parse().unwrap()),
        local: Some(node.ip()),
        remote: listener.local_addr().unwrap(),
    });
    let Event::ConnectFailed { conn: CONN, error } = rig.next().await else { panic!("dialled") };
    assert_eq!(error, words);
    let trouble = async {
        while let Some(input) = rig.inputs.recv().await {
            if matches!(&input, Input::Trouble { what, .. } if what == &format!("no session with 127.0.1.29: {words}"))
            {
                return;
            }
        }
        panic!("the agent ended");
    };
    tokio::time::timeout(PLENTY, trouble).await.unwrap();
    // What the leaf dials is reset before a byte of it is read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.1.29:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(node).await.unwrap();
    let end = tokio::time::timeout(PLENTY, stream.read(&mut [0; 8])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(rig.arrivals.try_recv().is_err(), "the loop heard of it");
}
