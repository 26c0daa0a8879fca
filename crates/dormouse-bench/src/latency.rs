//! Latencies: a histogram while load runs, a summary afterwards.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Significant decimal digits kept of every latency.
const PRECISION_DIGITS: u8 = 3;

/// Longest latency that is told from longer ones: an hour, more than any scenario lasts.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;

/// Latencies of one run.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// In nanoseconds.
    histogram: Histogram<u64>,
}

/// What a report quotes of [`Latencies`], in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, PRECISION_DIGITS)
            .expect("the bounds are in order and 3 digits are within 0 to 5");
        Latencies { histogram }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanos);
    }

    /// Quantiles of all that was recorded; zeros if nothing was.
    pub(crate) fn summary(&self) -> LatencySummary {
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        LatencySummary {
            count: self.histogram.len(),
            p50_us: micros(self.histogram.value_at_quantile(0.50)),
            p99_us: micros(self.histogram.value_at_quantile(0.99)),
            max_us: micros(self.histogram.max()),
        }
    }
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LatencySummary { p50_us, p99_us, max_us, .. } = self;
        write!(f, "p50 {p50_us:.0} µs, p99 {p99_us:.0} µs, max {max_us:.0} µs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thousandth_of_what_was_recorded() {
        let mut latencies = Latencies::new();

        for micros in 1..=1_000 {
            latencies.record(Duration::from_micros(micros));
        }

        let summary = latencies.summary();
        assert_eq!(summary.count, 1_000);
        assert!((summary.p50_us - 500.0).abs() <= 1.0, "{summary}");
        assert!((summary.p99_us - 990.0).abs() <= 1.0, "{summary}");
        assert!((summary.max_us - 1_000.0).abs() <= 1.0, "{summary}");
    }
}
