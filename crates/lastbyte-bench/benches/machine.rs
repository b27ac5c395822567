//! Nanoseconds per observation of the state machine, which does no I/O.
#![allow(missing_docs)] // criterion's macros make public functions

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lastbyte::bench::{Waiting, whole_ending};

fn machine(criterion: &mut Criterion) {
    criterion.bench_function("an observation that changes nothing", |bencher| {
        let mut waiting = Waiting::begin();
        bencher.iter(|| black_box(&mut waiting).look());
    });
    criterion.bench_function("the last ACK, and the report", |bencher| {
        bencher.iter_batched(Waiting::begin, Waiting::acknowledge, BatchSize::SmallInput);
    });
    criterion.bench_function("a whole ending of three looks", |bencher| {
        bencher.iter(|| black_box(whole_ending()));
    });
}

criterion_group!(benches, machine);
criterion_main!(benches);
