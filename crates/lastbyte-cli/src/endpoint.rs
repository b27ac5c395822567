//! `HOST:PORT` as people write it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A host and a port, not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Every address the host has.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest
                .split_once("]:")
                .ok_or("after an IPv6 address in brackets comes a colon and a port: [::1]:80")?,
            None => text
                .rsplit_once(':')
                .ok_or("a port is missing: HOST:PORT, such as localhost:80")?,
        };
        if host.is_empty() {
            return Err("the host is missing: HOST:PORT, such as localhost:80".into());
        }
        if host.contains(':') && !text.starts_with('[') {
            return Err("an IPv6 address is put in brackets: [::1]:80".into());
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(format!(
                "{port:?} is not a port, which is a number from 1 to 65535"
            )),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for text in [
            "localhost:80",
            "127.0.0.1:65535",
            "[::1]:80",
            "[fe80::1%lo]:1",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        for (text, why) in [
            ("localhost", "port is missing"),
            (":80", "host is missing"),
            ("[]:80", "host is missing"),
            ("::1:80", "in brackets"),
            ("[::1]", "in brackets"),
            ("[::1]80", "in brackets"),
            ("localhost:", "not a port"),
            ("localhost:0", "not a port"),
            ("localhost:65536", "not a port"),
            ("localhost:http", "not a port"),
            ("", "port is missing"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn loopback_resolves() {
        let endpoint: Endpoint = "[::1]:80".parse().unwrap();
        assert_eq!(
            endpoint.addresses().unwrap(),
            ["[::1]:80".parse::<SocketAddr>().unwrap()]
        );
    }
}
