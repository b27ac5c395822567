//! A plain threaded server: a thread for each connection, which closes it and
//! knows what became of the answer.
//!
//!     cargo run --example threaded -- 127.0.0.1:8080
//!     printf 'hello\n' | nc -N 127.0.0.1 8080
//!
//! It answers the first line of each connection with that line in capitals, and
//! closes without reading what else the client has sent.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use lastbyte::Policy;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("accept: {error}");
                // Without descriptors it would fail again at once.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let serving = std::thread::Builder::new().spawn(move || match answer(stream) {
            Ok(report) => println!("{peer}: {report}"),
            Err(error) => println!("{peer}: {error}"),
        });
        if let Err(error) = serving {
            eprintln!("{peer}: no thread: {error}");
        }
    }
}

fn answer(mut stream: TcpStream) -> io::Result<lastbyte::Report> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    stream.write_all(line.to_uppercase().as_bytes())?;

    // Here `drop(stream)` would neither wait nor tell, and with unread input it
    // would destroy the answer on its way.
    let policy = Policy::wait(Duration::from_secs(30)).with_stall(Duration::from_secs(5));
    Ok(lastbyte::close(stream, policy)?)
}
