//! Real programs: they do under the shim what they do without it.
//!
//! Servers listen on loopback ports, are stopped by a signal to their own process,
//! and must then be gone.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lastbyte_testkit::{need, need_path, need_root};

use crate::harness::{LONG, lastbyte, text};
use crate::server::{Server, free_port, output_of};

#[test]
fn python_http_server_and_curl() {
    need("curl", "curl");
    let server = Server::start(
        "http",
        &["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1"],
        |port, folder| {
            fs::write(folder.join("file"), vec![b'x'; 3_000_000]).expect("written");
            vec!["-d".into(), folder.display().to_string(), port.to_string()]
        },
    );
    let url = format!("http://127.0.0.1:{}/file", server.port);
    let before = server.descriptors();
    for _ in 0..5 {
        let output = lastbyte()
            .args([
                "run",
                "--",
                "curl",
                "-sS",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{size_download}",
                &url,
            ])
            .output()
            .expect("it starts");
        assert_eq!(text(&output), ("200 3000000".into(), String::new()));
        assert_eq!(output.status.code(), Some(0));
    }
    // An upload to a server that answers without reading it.
    let body = "x".repeat(100_000);
    let output = lastbyte()
        .args([
            "run",
            "--",
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-d",
            &body,
            &url,
        ])
        .output()
        .expect("it starts");
    assert_eq!(text(&output).0, "501", "{}", text(&output).1);
    server.comes_down_to(before);
    let (status, output) = server.stop(libc::SIGINT);
    assert_eq!(status, Some(0), "{output}");
}

#[test]
fn curl_fails_as_it_does_without_us() {
    need("curl", "curl");
    let url = format!("http://127.0.0.1:{}/", free_port());
    let told = |output: Output| {
        let (printed, errors) = text(&output);
        // "after 0 ms", or 1.
        let errors: String = errors.chars().filter(|c| !c.is_ascii_digit()).collect();
        (output.status.code(), printed, errors)
    };
    let plain = Command::new("curl")
        .args(["-sS", &url])
        .output()
        .expect("curl");
    let shim = lastbyte()
        .args(["run", "--", "curl", "-sS", &url])
        .output()
        .expect("it starts");
    assert_eq!(told(shim), told(plain));
}

fn nginx() -> Server {
    need("nginx", "nginx-light");
    Server::start("nginx", &["nginx"], |port, folder| {
        let path = folder.join("conf");
        let folder = folder.display();
        let configuration = format!(
            "daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;\n\
             fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;\n\
             client_max_body_size 1k;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"{}\"; }} }} }}",
            "x".repeat(2000)
        );
        fs::write(&path, configuration).expect("written");
        vec![
            "-c".into(),
            path.display().to_string(),
            "-p".into(),
            folder.to_string(),
        ]
    })
}

#[test]
fn nginx_under_wrk() {
    need("wrk", "wrk");
    let server = nginx();
    let url = format!("http://127.0.0.1:{}/", server.port);
    for arguments in [
        &["-t1", "-c20", "-d1s"][..],
        &["-t1", "-c20", "-d1s", "-H", "Connection: close"],
    ] {
        let report = output_of("wrk", &[arguments, &[&url]].concat());
        assert!(
            !report.contains("Non-2xx") && !report.contains("Socket errors"),
            "{report}"
        );
    }
    // A body that is refused before it is read: the answer must arrive.
    let body = "x".repeat(500_000);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a time");
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n{body}");
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .expect("an answer and an end, no reset");
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    let (status, output) = server.stop(libc::SIGQUIT);
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("endings:"), "{output}");
}

#[test]
fn redis_under_its_benchmark() {
    need("redis-server", "redis-server");
    need("redis-benchmark", "redis-tools");
    let server = Server::start("redis", &["redis-server"], |port, folder| {
        [
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            &folder.display().to_string(),
        ]
        .map(str::to_owned)
        .into()
    });
    let port = server.port.to_string();
    let before = server.descriptors();
    for keep in ["1", "0"] {
        let report = output_of(
            "redis-benchmark",
            &[
                "-p", &port, "-t", "set,get", "-n", "3000", "-c", "20", "-k", keep, "--csv",
            ],
        );
        assert!(
            report.contains("\"SET\"") && report.contains("\"GET\""),
            "{report}"
        );
    }
    // A fork for a snapshot, and connections from before and after it.
    assert_eq!(
        output_of("redis-cli", &["-p", &port, "set", "key", "value"]).trim(),
        "OK"
    );
    output_of("redis-cli", &["-p", &port, "bgsave"]);
    assert_eq!(
        output_of("redis-cli", &["-p", &port, "get", "key"]).trim(),
        "value"
    );
    let _ = Command::new("redis-cli")
        .args(["-p", &port, "debug", "sleep", "0"])
        .output();
    server.comes_down_to(before + 2);
    let (status, output) = server.stop(libc::SIGTERM);
    assert_eq!(status, Some(0), "{output}");
}

#[test]
fn pgbench_with_a_connection_for_each_transaction() {
    need("pgbench", "postgresql");
    need_path("/usr/lib/postgresql", "postgresql");
    need_root();
    let folder = fs::read_dir("/usr/lib/postgresql")
        .expect("this test needs Debian's postgresql")
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .find(|folder| folder.join("initdb").exists())
        .expect("this test needs Debian's postgresql");
    // PostgreSQL refuses to run as root, and wants a folder of its own user's.
    let data = std::env::temp_dir().join(format!("lastbyte-pg-{}", std::process::id()));
    let data = data.to_str().expect("text");
    let as_postgres = |program: &str| {
        vec![
            "setpriv".to_owned(),
            "--reuid=postgres".into(),
            "--regid=postgres".into(),
            "--clear-groups".into(),
            program.into(),
        ]
    };
    let tool = |name: &str| as_postgres(folder.join(name).to_str().expect("text"));
    let run = |mut command: Vec<String>, arguments: &[&str]| {
        command.extend(arguments.iter().map(|one| (*one).to_owned()));
        let output = Command::new(&command[0])
            .args(&command[1..])
            .current_dir("/")
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{command:?}: {}", text(&output).1);
        text(&output).0
    };
    run(
        tool("initdb"),
        &["-D", data, "-A", "trust", "-U", "postgres", "--no-sync"],
    );
    // The shim must be readable for that user too, wherever the build is.
    let server = Server::start(
        "postgres",
        &[
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
        ],
        |port, _| {
            vec![
                folder.join("postgres").display().to_string(),
                "-D".into(),
                data.into(),
                "-p".into(),
                port.to_string(),
                "-h".into(),
                "127.0.0.1".into(),
                "-k".into(),
                String::new(),
                "-c".into(),
                "fsync=off".into(),
            ]
        },
    );
    let port = server.port.to_string();
    let common = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
    let until = Instant::now() + LONG;
    while !Command::new(folder.join("pg_isready"))
        .args(common)
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|one| one.success())
    {
        assert!(Instant::now() < until, "{}", server.output());
        std::thread::sleep(Duration::from_millis(50));
    }
    run(
        tool("pgbench"),
        &[&common[..], &["-i", "-q", "postgres"]].concat(),
    );
    let report = run(
        tool("pgbench"),
        &[
            &common[..],
            &["-C", "-S", "-c", "4", "-t", "50", "postgres"],
        ]
        .concat(),
    );
    assert!(
        report.contains("number of transactions actually processed: 200/200"),
        "{report}"
    );
    assert!(report.contains("failed transactions: 0"), "{report}");
    let (status, output) = server.stop(libc::SIGINT);
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("database system is shut down"), "{output}");
    fs::remove_dir_all(data).expect("ours");
}

/// What a forking or threading server answers to clients that send more than it reads.
fn echo_server(name: &str) -> Server {
    let source = format!(
        "import socketserver, sys\n\
         class Handler(socketserver.StreamRequestHandler):\n\
         \x20   def handle(self):\n\
         \x20       line = self.rfile.readline(); self.wfile.write(line * 20000)\n\
         socketserver.TCPServer.allow_reuse_address = True\n\
         socketserver.{name}(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()"
    );
    Server::start(name, &["python3", "-c"], move |port, _| {
        vec![source, port.to_string()]
    })
}

#[test]
fn forking_and_threading_servers_answer_although_they_leave_input_unread() {
    for name in ["ForkingTCPServer", "ThreadingTCPServer"] {
        let server = echo_server(name);
        for _ in 0..20 {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
            stream.set_read_timeout(Some(LONG)).expect("a time");
            stream.write_all(b"hello\n").expect("room");
            stream.write_all(&[b'x'; 50_000]).expect("room");
            let mut answer = Vec::new();
            stream
                .read_to_end(&mut answer)
                .expect("an end and no reset");
            assert_eq!(answer.len(), 6 * 20000, "{name}");
        }
        server.stop(libc::SIGTERM);
    }
}

#[test]
fn apache_with_forked_processes() {
    need("apache2", "apache2");
    let modules = "/usr/lib/apache2/modules";
    let server = Server::start("apache", &["apache2"], |port, folder| {
        fs::write(folder.join("file"), vec![b'x'; 100_000]).expect("written");
        let folder = folder.display();
        let configuration = format!(
            "ServerRoot {folder}\nServerName x\nPidFile {folder}/pid\nErrorLog {folder}/error\nListen 127.0.0.1:{port}\n\
             LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so\n\
             LoadModule authz_core_module {modules}/mod_authz_core.so\n\
             User root\nGroup root\nMutex posixsem\nStartServers 2\nDocumentRoot {folder}\n\
             <Directory {folder}>\nRequire all granted\n</Directory>\n"
        )
        // Debian's Apache refuses to serve as root.
        .replace("User root\nGroup root", "User www-data\nGroup www-data");
        let path = format!("{folder}/conf");
        fs::write(&path, configuration).expect("written");
        vec!["-D".into(), "FOREGROUND".into(), "-f".into(), path]
    });
    for _ in 0..20 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a time");
        stream
            .write_all(b"GET /no-such-file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("room");
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .expect("an end and no reset");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 40"),
            "{answer}\n{}",
            server.output()
        );
    }
    let (status, output) = server.stop(libc::SIGTERM);
    assert_eq!(status, Some(0), "{output}");
}

#[test]
fn socat_passes_everything_on() {
    need("socat", "socat");
    let server = Server::start("socat", &["socat"], |port, _| {
        vec![
            format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"),
            "EXEC:tr a-z A-Z".into(),
        ]
    });
    for _ in 0..10 {
        let mut client = lastbyte()
            .args([
                "run",
                "--",
                "socat",
                "-t10",
                "-",
                &format!("TCP:127.0.0.1:{}", server.port),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = client.stdin.take().expect("piped");
        let writer = std::thread::spawn(move || {
            input
                .write_all("lower case\n".repeat(50_000).as_bytes())
                .expect("it reads");
        });
        let output = client.wait_with_output().expect("our child");
        writer.join().expect("no panic");
        assert_eq!(output.stdout.len(), 11 * 50_000);
        assert!(output.stdout.starts_with(b"LOWER CASE\n"));
        assert!(output.status.success());
    }
    server.stop(libc::SIGTERM);
}
