//! Processor time in place of time.

use std::fs::File;
use std::io::Read;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};

/// The time that the kernel says this thread has had of a processor, nanoseconds.
pub(crate) struct Processor;

impl Measurement for Processor {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        now()
    }

    fn end(&self, start: u64) -> u64 {
        now() - start
    }

    fn add(&self, a: &u64, b: &u64) -> u64 {
        a + b
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Milliseconds
    }
}

/// The first field of schedstat; 0 where there is none.
fn now() -> u64 {
    let mut text = String::new();
    let read = File::open("/proc/thread-self/schedstat").and_then(|mut file| file.read_to_string(&mut text));
    read.ok().and_then(|_| text.split(' ').next()?.parse().ok()).unwrap_or(0)
}

struct Milliseconds;

fn scale(values: &mut [f64], change: impl Fn(f64) -> f64) {
    for value in values {
        *value = change(*value);
    }
}

impl ValueFormatter for Milliseconds {
    fn scale_values(&self, _typical: f64, values: &mut [f64]) -> &'static str {
        scale(values, |nanoseconds| nanoseconds / 1e6);
        "ms CPU"
    }

    fn scale_throughputs(&self, _typical: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let Throughput::Elements(count) = throughput else { return self.scale_values(0.0, values) };
        scale(values, |nanoseconds| *count as f64 * 1e3 / nanoseconds);
        "M prefixes/s"
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "ns"
    }
}
