//! `--prometheus`, watching a network namespace from outside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::flood;
use crate::space::{Space, Watch};

pub(crate) fn served() {
    const NUMBER: u32 = 400;
    let space = Space::new();
    let watch = Watch::start(
        Command::new(env!("CARGO_BIN_EXE_lastbyte")),
        &["--json", "--netns", space.name(), "--prometheus", "0"],
    );
    let address: SocketAddr = watch
        .said()
        .lines()
        .find_map(|line| {
            line.strip_prefix("lastbyte: metrics on http://")?
                .strip_suffix("/metrics")
        })
        .expect("it says where")
        .parse()
        .expect("an address");
    assert!(address.ip().is_loopback());
    let status = flood::load(&space, NUMBER, false)
        .status()
        .expect("the load runs");
    assert!(status.success());
    watch.settle(2 * NUMBER as usize);
    // Each ending was counted before its line was written.
    let text = scrape(address);
    let total: u64 = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("lastbyte_endings_total{")?
                .rsplit(' ')
                .next()
        })
        .map(|number| number.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(total, u64::from(2 * NUMBER), "{text}");
    for line in [
        "# UNIT lastbyte_lost_bytes bytes",
        "# EOF",
        "lastbyte_endings_dropped_total{by=\"kernel\"} 0",
        "lastbyte_endings_dropped_total{by=\"lastbyte\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(
        text.contains("lastbyte_closing_state_duration_seconds_bucket{le="),
        "{text}"
    );
    drop(watch);
}

fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    body.to_owned()
}
