//! Prints the contract's rows as lwIP keeps them: `--markdown` as a column's cells,
//! otherwise a line each.

use lastbyte_lab::lwip;

fn main() {
    let markdown = std::env::args().any(|argument| argument == "--markdown");
    let results = match lwip::run(&|row| eprint!("\r{} ", row.id)) {
        Ok(results) => results,
        Err(error) => {
            eprintln!("lwIP does not start: {error}");
            std::process::exit(1);
        }
    };
    eprintln!("\r   ");
    let (mut ran, mut kept) = (0, 0);
    for lwip::RowResult { row, outcome } in &results {
        let mark = match outcome.not_run() {
            Some(_) => "–",
            None if outcome.kept() => "✓",
            None => "✗",
        };
        ran += usize::from(outcome.not_run().is_none());
        kept += usize::from(outcome.kept());
        match markdown {
            true => println!("| {} | {mark} {} |", row.id, outcome.saw()),
            false => println!("{} {mark} {}", row.id, outcome.saw()),
        }
        for fault in outcome.faults().iter().filter(|_| !markdown) {
            println!("     {fault}");
        }
    }
    println!(
        "rows kept: lwip_close() {kept} of {ran} ({} not run); lwIP {}",
        results.len() - ran,
        lwip::version()
    );
}
