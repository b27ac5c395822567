//! A busy host where nothing is wrong, made of programs that nobody here wrote: `doctor`
//! finds no problem.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lastbyte_testkit::need;

use crate::blame::Doctor;
use crate::space::{Binary, Space, text};

const NGINX: u16 = 8080;
const PROXY: u16 = 8081;
const TLS: u16 = 8443;
const REDIS: u16 = 6399;
const PYTHON: u16 = 8090;

/// A server in the space; killed at the end, with what it started.
struct Server(Child);

impl Server {
    fn start(space: &Space, program: &str, arguments: &[&str], ports: &[u16]) -> Self {
        let child = space
            .command(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let server = Self(child);
        for port in ports {
            server.wait_for(space, *port);
        }
        server
    }

    /// Until something listens there.
    fn wait_for(&self, space: &Space, port: u16) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let listening = space.command("ss").args(["-Hltn"]).output();
            let listening = listening.expect("iproute2 is installed");
            if text(&listening.stdout).contains(&address) {
                return;
            }
            assert!(Instant::now() < until, "nothing listens on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx ends its workers when it is asked to end.
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

fn run(space: &Space, program: &str, arguments: &[&str]) -> String {
    let output = space.command(program).args(arguments).output();
    let output = output.expect("it is installed");
    assert!(
        output.status.success(),
        "{program}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn nginx(space: &Space, folder: &Path) -> Server {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let (key, certificate) = (key.display().to_string(), certificate.display().to_string());
    let made = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=x",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    run(space, "openssl", &made);
    fs::write(folder.join("big"), vec![b'x'; 200_000]).expect("the folder is ours");
    let path = folder.join("nginx.conf");
    let here = folder.display();
    let configuration = format!(
        "daemon off; user root; worker_processes 2; pid {here}/pid; error_log {here}/error;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {here}/a; proxy_temp_path {here}/b;\n\
         fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
         upstream back {{ server 127.0.0.1:{NGINX}; keepalive 8; }}\n\
         server {{ listen 127.0.0.1:{NGINX}; root {here}; \
         location = /short {{ keepalive_timeout 0; return 200 x; }} }}\n\
         server {{ listen 127.0.0.1:{TLS} ssl; ssl_certificate {certificate}; \
         ssl_certificate_key {key}; root {here}; }}\n\
         server {{ listen 127.0.0.1:{PROXY}; location / {{ proxy_pass http://back; \
         proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}"
    );
    fs::write(&path, configuration).expect("the folder is ours");
    let path = path.display().to_string();
    Server::start(space, "nginx", &["-c", &path], &[NGINX, PROXY, TLS])
}

pub(crate) fn a_busy_host_has_no_problem() {
    for (program, package) in [
        ("nginx", "nginx-light"),
        ("wrk", "wrk"),
        ("curl", "curl"),
        ("openssl", "openssl"),
        ("redis-server", "redis-server"),
        ("redis-benchmark", "redis-tools"),
    ] {
        need(program, package);
    }
    let space = Space::new();
    let binary = Binary::new();
    let folder = binary.path();
    let folder = folder.parent().expect("it is in a folder");
    let _nginx = nginx(&space, folder);
    let redis = REDIS.to_string();
    let quiet = ["--port", &redis, "--bind", "127.0.0.1", "--save", ""];
    let _redis = Server::start(&space, "redis-server", &quiet, &[REDIS]);
    let port = PYTHON.to_string();
    let here = folder.display().to_string();
    let files = [
        "-m",
        "http.server",
        &port,
        "--bind",
        "127.0.0.1",
        "-d",
        &here,
    ];
    let _python = Server::start(&space, crate::story::PYTHON, &files, &[PYTHON]);

    let doctor = Doctor::start(&space, &binary, &[]);
    let url = |port: u16, path: &str| format!("http://127.0.0.1:{port}/{path}");
    for url in [url(NGINX, "short"), url(NGINX, "big"), url(PROXY, "big")] {
        run(&space, "wrk", &["-t1", "-c20", "-d1s", &url]);
    }
    for _ in 0..20 {
        let tls = format!("https://127.0.0.1:{TLS}/big");
        for url in [url(NGINX, "short"), url(PYTHON, "big"), tls] {
            let arguments = ["-sSfk", "-o", "/dev/null", &url];
            run(&space, "curl", &arguments);
        }
    }
    let benchmark = [
        "-p", &redis, "-n", "2000", "-c", "20", "-q", "-t", "get,set",
    ];
    run(&space, "redis-benchmark", &benchmark);
    let (status, found) = doctor.findings();
    let problems: Vec<_> = found
        .iter()
        .filter(|finding| finding["severity"] == "problem")
        .collect();
    assert_eq!((status, problems.len()), (Some(0), 0), "{problems:#?}");
}
