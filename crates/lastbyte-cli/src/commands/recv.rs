//! `lastbyte recv`: the other end, for trying things out.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use indicatif::{ProgressBar, ProgressStyle};
use lastbyte::Errno;

use crate::output::{failed, note, output};
use crate::status::{DONE, NOT_SO, Status, USAGE};

/// Receives one connection, and reports how it ended.
///
/// The bytes go to standard output, the report to standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 the connection ended with EOF, 1 it was reset or failed, 2 usage, or
standard output cannot be written.")]
pub(crate) struct Args {
    /// The port to listen on; a free one if absent, printed on standard error.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,

    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
}

pub(crate) fn run(args: &Args) -> Status {
    match receive(SocketAddr::new(args.bind, args.port)) {
        Ok(status) => status,
        Err(text) => {
            note!("{text}");
            USAGE
        }
    }
}

fn receive(at: SocketAddr) -> Result<Status, String> {
    let listener = TcpListener::bind(at).map_err(|e| format!("cannot listen on {at}: {e}"))?;
    let at = listener
        .local_addr()
        .map_err(|e| format!("the listener has no address: {e}"))?;
    note!("listening on {at}");
    let (mut stream, peer) = listener
        .accept()
        .map_err(|e| format!("cannot accept a connection on {at}: {e}"))?;
    drop(listener);

    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {bytes} {bytes_per_sec} {elapsed}")
            .expect("the template is well-formed"),
    );
    let mut out = output();
    let mut block = vec![0; 1 << 16];
    let mut bytes = 0;
    let end = loop {
        match stream.read(&mut block) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                bytes += n as u64;
                bar.set_position(bytes);
                if let Err(error) = out.write_all(&block[..n]) {
                    return Ok(failed(&error));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    if let Err(error) = out.flush() {
        return Ok(failed(&error));
    }
    bar.finish_and_clear();
    match end {
        Ok(()) => {
            note!("EOF after {bytes} bytes from {peer}");
            Ok(DONE)
        }
        Err(error) => {
            let name = error.raw_os_error().map(Errno::from_raw);
            match name {
                Some(Errno::ECONNRESET) => note!("reset after {bytes} bytes from {peer}"),
                Some(name) => note!("failed ({name}) after {bytes} bytes from {peer}"),
                None => note!("failed ({error}) after {bytes} bytes from {peer}"),
            }
            Ok(NOT_SO)
        }
    }
}
