//! Two small servers that nodes need: a health endpoint that a test turns on and off, and something that answers TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// A client that says nothing is let go after this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers every HTTP request with 200 while the file exists, and with 503 while it does not.
pub fn health(listen: &str, file: &Path) -> Result<()> {
    let file = file.to_owned();
    accept(listen, move |stream| health_connection(stream, &file))
}

/// Greets with `NAME CLIENT-ADDRESS` and then sends back what it receives: who answers an anycast address shows in the first line.
pub fn echo(listen: &str, name: &str) -> Result<()> {
    let name = name.to_owned();
    accept(listen, move |mut stream| {
        // An IPv4 client of an IPv6 socket has a mapped address.
        let peer = stream.peer_addr()?.ip().to_canonical();
        writeln!(stream, "{name} {peer}")?;
        std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
    })
}

fn accept(listen: &str, serve: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let serve = serve.clone();
        // A client that goes away early is its own affair.
        std::thread::spawn(move || drop(serve(stream)));
    }
    Ok(())
}

/// HTTP/1.1 as far as a probe needs it: the request's head is read and dropped, the connection closed.
fn health_connection(mut stream: TcpStream, file: &Path) -> std::io::Result<()> {
    let mut head = BufReader::new(stream.try_clone()?.take(16 * 1024));
    let mut line = String::new();
    while head.read_line(&mut line)? > 0 && line.trim_end() != "" {
        line.clear();
    }
    let (status, body) = if file.exists() { ("200 OK", "ok\n") } else { ("503 Service Unavailable", "off\n") };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
