//! Raw tracepoint records, alone and in pages, by any layout.
#![no_main]

use lastbyte_host::parse::ring_page::Page;
use lastbyte_host::parse::trace::{Event, Layouts};
use lastbyte_host::parse::tracefs::{Field, Format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u8; 16], &[u8])| {
    let (offsets, record) = input;
    let names = [
        "skaddr", "oldstate", "newstate", "protocol", "sport", "dport", "saddr_v6", "daddr_v6",
        "skbaddr", "reason", "saddr", "daddr", "sock_cookie", "error",
    ];
    let fields: std::collections::HashMap<_, _> = names
        .iter()
        .zip(offsets)
        .map(|(name, offset)| ((*name).to_owned(), Field { offset: offset.into(), size: 8 }))
        .collect();
    let format = |id| Format { id, fields: fields.clone(), ..Format::default() };
    let formats = [format(1), format(2), format(3), format(4), format(5)];
    if let Ok(layouts) = Layouts::new(&formats) {
        if let Some(trace) = layouts.decode(record) {
            if let Event::SetState { tuple, .. } = trace.event {
                let _ = tuple.local.to_string();
            }
        }
        if let Some(page) = Page::parse(record) {
            for (_, record) in page.records() {
                let _ = layouts.decode(record);
            }
        }
    }
});
