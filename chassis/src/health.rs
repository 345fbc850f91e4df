//! Asks a running service whether it is ready: a health check for images without curl.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

const PATIENCE: Duration = Duration::from_secs(3);
const MAX_STATUS_LINE_BYTES: u64 = 1024;

/// # Errors
/// Where nothing answers there, or with what it answers instead of 200.
pub(crate) fn ask(addr: SocketAddr) -> anyhow::Result<()> {
    let addr = from_here(addr);
    let status = status_of(addr).with_context(|| {
        format!("nothing answers on {addr}: does the service run, with this HTTP_ADDR?")
    })?;
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => bail!("the service on {addr} is not ready: {}", status.trim_end()),
    }
}

/// What listens on all addresses answers on loopback.
fn from_here(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    addr
}

fn status_of(addr: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // In one piece: who answers after the first and closes would cut the answer off.
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut status = String::new();
    BufReader::new(stream.take(MAX_STATUS_LINE_BYTES)).read_line(&mut status)?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Asks a server that answers so.
    fn ask_one_that_answers(answer: &'static str) -> anyhow::Result<()> {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let answer = ask(addr);
        server.join().unwrap();
        answer
    }

    #[test]
    fn only_200_is_ready() {
        ask_one_that_answers("HTTP/1.1 200 OK\r\n\r\nready\n").unwrap();
        let error = ask_one_that_answers("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        assert!(error.unwrap_err().to_string().contains("503 Service Unavailable"));
        assert!(ask_one_that_answers("").is_err());
    }

    #[test]
    fn a_service_that_does_not_run_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ask(free).unwrap_err();
        assert!(error.to_string().contains(&free.to_string()), "{error}");
    }
}
